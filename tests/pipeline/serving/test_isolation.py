"""A server in a network namespace: it serves, it cannot reach out, and an attempt is seen."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.contract import Sampling
from pipeline.errors import ServingError
from pipeline.planning import ServingPlan
from pipeline.serving import describe, isolation, local
from pipeline.serving.isolation import SUPERVISOR, best_isolation, why_not_isolated
from pipeline.serving.local import Start, private_directory, running
from pipeline.site import ServingSettings
from tests.pipeline.serving.conftest import eventually
from tests.pipeline.serving.test_local import start_of

ONE = Sampling(max_tokens=1)

# A server that phones home while it serves: over UDP to a public address, and over TCP to the machine's own loopback.
_TRAITOR = """
import os, socket, sys
for family, kind, address in (
    (socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.7", 53)),
    (socket.AF_INET, socket.SOCK_STREAM, ("198.51.100.7", 443)),
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(sys.argv[1]))),
):
    try:
        socket.socket(family, kind).connect(address)
        print("REACHED", address, flush=True)
    except OSError as error:
        print("refused", address, error, flush=True)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A server on the machine's loopback, and who connected to it."""
    connected: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def accept() -> None:
            try:
                connected.append(server.accept())
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], connected


def isolated(start: Start, *before: str) -> Start:
    return Start([*before, *start.command], start.environment, start.endpoint, start.private, "network-namespace")


def test_an_isolated_server_serves_over_its_socket_and_has_only_loopback(tiny: Path, tmp_path: Path) -> None:
    private = private_directory()
    start, served = start_of(private, tiny)
    with running(isolated(start), served, log=tmp_path / "log", timeout=60) as model:
        assert model.complete(["x"], ONE)[0].error is None
        egress = model.egress()
        assert egress is not None
        assert (egress.interfaces, egress.refused) == (("lo",), 0)
        assert egress.canaries >= 1
        assert egress.to_json()["isolation"] == "network-namespace"


def test_a_server_that_phones_home_is_refused_and_counted(
    tiny: Path, tmp_path: Path, listener: tuple[int, list[object]]
) -> None:
    port, connected = listener
    private = private_directory()
    start, served = start_of(private, tiny)
    traitor = isolated(start, sys.executable, "-c", _TRAITOR, str(port))
    with running(traitor, served, log=tmp_path / "log", timeout=60) as model:
        egress = model.egress()
    assert egress is not None
    assert egress.refused == 2
    log = (tmp_path / "log").read_text()
    assert log.count("refused (") == 3
    assert "REACHED" not in log
    assert not connected


def test_the_same_server_without_isolation_reaches_out(
    tiny: Path, tmp_path: Path, listener: tuple[int, list[object]]
) -> None:
    # The control: what the test above forbids is possible otherwise.
    port, connected = listener
    private = private_directory()
    start, served = start_of(private, tiny)
    open_start = Start(
        [sys.executable, "-c", _TRAITOR, str(port), *start.command], start.environment, start.endpoint, private
    )
    with running(open_start, served, log=tmp_path / "log", timeout=60) as model:
        assert model.egress() is None
    assert eventually(lambda: bool(connected))
    assert "REACHED ('127.0.0.1'" in (tmp_path / "log").read_text()


def test_an_isolated_server_has_no_privilege_to_leave(tiny: Path, tmp_path: Path) -> None:
    private = private_directory()
    start, served = start_of(private, tiny)
    program = "print(open('/proc/self/status').read()); raise SystemExit(1)"
    broken = Start(
        [sys.executable, "-c", program], start.environment, start.endpoint, private, isolation="network-namespace"
    )
    with pytest.raises(ServingError), running(broken, served, log=tmp_path / "log", timeout=60):
        pytest.fail("it must not start")
    status = dict(line.split(":", 1) for line in (tmp_path / "log").read_text().splitlines() if ":" in line)
    for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"].strip() == "1"


def test_what_cannot_be_isolated_does_not_start(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A supervisor whose canary finds a way out: the proof must fail, and the server must not be started.
    pierced = tmp_path / "supervisor.py"
    text = SUPERVISOR.read_text(encoding="utf-8")
    pierced.write_text(text.replace('"192.0.2.1"', '"127.0.0.1"'), encoding="utf-8")
    monkeypatch.setattr(local, "SUPERVISOR", pierced)
    private = private_directory()
    start, served = start_of(private, tiny)
    with (
        pytest.raises(ServingError, match="the network is in reach"),
        running(isolated(start), served, log=tmp_path / "log", timeout=60),
    ):
        pytest.fail("it must not start")
    assert "fake server listening" not in (tmp_path / "log").read_text()


def test_the_description_says_what_isolates_before_anything_starts() -> None:
    plan = ServingPlan(1, 64, "bfloat16")
    assert best_isolation("unix") == ("none" if why_not_isolated() else "network-namespace")
    assert describe(plan, ServingSettings()).isolation == best_isolation("unix")
    assert describe(plan).isolation == "none"  # nothing is claimed that a site could contradict
    assert describe(plan, ServingSettings(listen="tcp")).isolation == "none"


def test_a_machine_that_allows_no_namespace_says_why_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "supervisor.py"
    refusing.write_text("raise SystemExit('unshare: Operation not permitted')", encoding="utf-8")
    monkeypatch.setattr(isolation, "SUPERVISOR", refusing)
    assert why_not_isolated() == "unshare: Operation not permitted"
    assert best_isolation("unix") == "none"
    monkeypatch.setattr("sys.executable", "/no/such/python")
    assert "the probe failed" in (why_not_isolated() or "")


def test_the_probe_changes_nothing_here() -> None:
    before = {entry.name for entry in Path("/sys/class/net").iterdir()}
    subprocess.run([sys.executable, "-I", "-S", str(SUPERVISOR), "--probe"], capture_output=True, check=False)
    assert {entry.name for entry in Path("/sys/class/net").iterdir()} == before
