"""One release that was run on a fake server and judged GO, for every test that copies it to do something to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.output import ExitCode
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.fakes.openai_server import FakeServer
from tests.fakes.pupil import Pupil
from tests.pipeline.signature.tokens import Token, made_token
from tests.runs import Organisation, found_organisation


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A fake model server that answers as a good model does."""
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("served") / "tiny")
    with FakeServer(checkpoint, Pupil().brain, name="good") as server:
        yield server


@pytest.fixture(scope="session")
def judged(server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    """An organisation whose release was run and judged GO; nothing may change it."""
    organisation = found_organisation(tmp_path_factory.mktemp("judged") / "site")
    ran = organisation.release(server.url)
    assert ran.code == ExitCode.YES, ran.stdout + ran.stderr
    return organisation


@pytest.fixture
def site(judged: Organisation, tmp_path: Path) -> Organisation:
    """A copy of the judged organisation, to do with as a test likes."""
    return judged.copied(tmp_path / "site")


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """One token for all tests: a process that has loaded SoftHSM's module sees no other directory of tokens."""
    with made_token(tmp_path_factory.mktemp("softhsm")) as token:
        yield token
