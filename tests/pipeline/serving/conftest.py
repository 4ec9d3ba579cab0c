"""What the serving tests stand on: a tiny checkpoint, the fake server, and what runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from pipeline.serving.client import Served, ServedModel
from pipeline.serving.endpoint import describe_server
from pipeline.serving.isolation import possible_isolation
from pipeline.serving.transport import Endpoint, Patience
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.fakes.openai_server import FakeServer

# Where the kernel refuses namespaces or Landlock, `test_isolation` still proves that nothing starts that claims them.
collect_ignore = (
    [] if possible_isolation().best("unix") == "network-namespace+landlock" else ["test_isolated_server.py"]
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a byte-level tokenizer: every character of ASCII is one token."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("serving") / "tiny")


class StartFake(Protocol):
    """Starts a fake server that ends with the test."""

    def __call__(self, **settings: Any) -> FakeServer: ...


@pytest.fixture
def start_fake(tiny: Path) -> Iterator[StartFake]:
    with ExitStack() as stack:

        def start(**settings: Any) -> FakeServer:
            return stack.enter_context(FakeServer(tiny, **settings))

        yield start


@pytest.fixture
def fake(start_fake: StartFake) -> FakeServer:
    return start_fake()


QUICK = Patience(connect=2.0, request=5.0, idle=1.0, attempts=3, pause=0.01)


def model_of(server: FakeServer, tokenizer: Path, **settings: Any) -> ServedModel:
    """The client of a fake server, with little patience."""
    served = Served(
        Endpoint(server.url),
        server.name,
        "tiny",
        tokenizer,
        server.context_length,
        describe_server(server.url, None)[0],
    )
    return ServedModel(served, **{"patience": QUICK, **settings})


@pytest.fixture
def model(fake: FakeServer, tiny: Path) -> ServedModel:
    return model_of(fake, tiny)


def descendants_with(text: str) -> list[str]:
    """The command lines of running processes that hold `text`, this process's own apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                state = (entry / "stat").read_text().rpartition(") ")[2][:1]
            except OSError:
                continue
            if text in line and state != "Z":
                found.append(line)
    return found


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether `holds` becomes true before a long time has passed."""
    import time

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return holds()
