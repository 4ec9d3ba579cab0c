"""A server in isolation: it serves, it reaches neither the network nor the site's files, and an attempt is seen.

Collected only where the kernel allows both isolations (see conftest); `test_isolation` runs everywhere.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checks.contract import Sampling
from pipeline.errors import ServingError
from pipeline.serving import local, supervisor
from pipeline.serving.isolation import SUPERVISOR, Isolation
from pipeline.serving.local import Start, private_directory, running
from tests.pipeline.serving.conftest import descendants_with, eventually
from tests.pipeline.serving.test_local import ROOT, start_of

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


BOTH: Isolation = "network-namespace+landlock"


def isolated(start: Start, tiny: Path, *before: str, isolation: Isolation = BOTH) -> Start:
    readable = (ROOT, Path(sys.prefix), Path(sys.base_prefix), tiny)
    return Start([*before, *start.command], start.environment, start.endpoint, start.private, isolation, readable)


def test_an_isolated_server_serves_over_its_socket_and_has_only_loopback(tiny: Path, tmp_path: Path) -> None:
    private = private_directory()
    start, served = start_of(private, tiny)
    with running(isolated(start, tiny), served, log=tmp_path / "log", timeout=60) as model:
        assert model.complete(["x"], ONE)[0].error is None
        egress = model.egress()
        assert egress is not None
        assert (egress.interfaces, egress.refused) == (("lo",), 0)
        assert egress.canaries >= 1
        assert egress.to_json()["interfaces"] == ["lo"]


def test_a_server_that_phones_home_is_refused_and_counted(
    tiny: Path, tmp_path: Path, listener: tuple[int, list[object]]
) -> None:
    port, connected = listener
    private = private_directory()
    start, served = start_of(private, tiny)
    traitor = isolated(start, tiny, sys.executable, "-c", _TRAITOR, str(port))
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
    broken = dataclasses.replace(isolated(start, tiny), command=[sys.executable, "-c", program])
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
        running(isolated(start, tiny), served, log=tmp_path / "log", timeout=60),
    ):
        pytest.fail("it must not start")
    assert "fake server listening" not in (tmp_path / "log").read_text()


# A server that a checkpoint has taken over: it looks for keys, for other processes, and for a place to leave a file.
_BURGLAR = """
import os, signal, sys
def attempt(name, act):
    try:
        act()
        print("DONE", name, flush=True)
    except OSError as error:
        print("refused", name, type(error).__name__, flush=True)
secret, outside = sys.argv[1], int(sys.argv[2])
attempt("read", lambda: open(secret).read())
attempt("overwrite", lambda: open(secret, "a"))
attempt("replace", lambda: os.replace(secret, secret + ".old"))
attempt("list", lambda: os.listdir(os.path.dirname(secret)))
attempt("plant", lambda: open(os.path.join(os.path.dirname(secret), "planted"), "w"))
attempt("spy", lambda: open(f"/proc/{outside}/environ").read())
attempt("kill", lambda: os.kill(outside, signal.SIGTERM))
open(os.path.join(os.environ["PRIVATE"], "own"), "w").write("its own directory is its own")
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize("isolation", ["landlock", BOTH])
def test_a_server_taken_over_reaches_no_key_and_no_process(tiny: Path, tmp_path: Path, isolation: Isolation) -> None:
    secret = tmp_path / "keys" / "pipeline.pem"
    secret.parent.mkdir()
    secret.write_text("the pipeline's key")
    private = private_directory()
    start, served = start_of(private, tiny)
    burglar = isolated(start, tiny, sys.executable, "-c", _BURGLAR, str(secret), str(os.getpid()), isolation=isolation)
    burglar = dataclasses.replace(burglar, environment={**start.environment, "PRIVATE": str(private)})
    with running(burglar, served, log=tmp_path / "log", timeout=60) as model:
        assert model.complete(["x"], ONE)[0].error is None
    log = (tmp_path / "log").read_text()
    assert log.count("refused ") == 7
    assert "DONE" not in log
    assert [path.name for path in secret.parent.iterdir()] == ["pipeline.pem"]
    assert secret.read_text() == "the pipeline's key"


def test_what_cannot_be_confined_does_not_start(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A supervisor that allows too much: the proof must fail, and the server must not be started.
    pierced = tmp_path / "supervisor.py"
    text = SUPERVISOR.read_text(encoding="utf-8")
    pierced.write_text(text.replace('_SYSTEM = ("/usr"', '_SYSTEM = ("/", "/usr"'), encoding="utf-8")
    monkeypatch.setattr(local, "SUPERVISOR", pierced)
    private = private_directory()
    start, served = start_of(private, tiny)
    with (
        pytest.raises(ServingError, match="files outside those allowed are in reach"),
        running(isolated(start, tiny), served, log=tmp_path / "log", timeout=60),
    ):
        pytest.fail("it must not start")


# --- the supervisor's parts, in processes of their own ----------------------------------------------------------------


def in_a_process(work: Callable[[], int | None]) -> int:
    """The exit status of `work` in a forked process, where what cannot be undone ends with it."""
    process = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(work()))
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def supervise(tmp_path: Path, *command: str, isolation: str = "none", close: bool = False, grace: float = 5.0) -> int:
    """The exit status of the supervisor of `command`; with `close`, its parent ends it at once."""
    (tmp_path / "private").mkdir()
    reader, writer = os.pipe()
    arguments = [str(os.getpid()), str(reader), str(grace), str(tmp_path / "private"), isolation]

    def work() -> int:
        os.close(writer)
        return supervisor.main([*arguments, sys.prefix, sys.base_prefix, os.fspath(Path.cwd()), "--", *command])

    if close:
        os.close(writer)
        writer = os.open(os.devnull, os.O_RDONLY)
    try:
        return in_a_process(work)
    finally:
        os.close(writer)
        os.close(reader)


@pytest.mark.parametrize("isolation", ["none", "network-namespace", "landlock", BOTH])
@pytest.mark.parametrize(
    ("program", "status"), [("raise SystemExit(0)", 0), ("raise SystemExit(3)", 3), ("import os; os.abort()", 134)]
)
def test_the_supervisor_ends_as_its_command_does(tmp_path: Path, isolation: str, program: str, status: int) -> None:
    assert supervise(tmp_path, sys.executable, "-I", "-S", "-c", program, isolation=isolation) == status
    assert not (tmp_path / "private").exists()


def test_a_command_that_does_not_exist_is_status_127(tmp_path: Path) -> None:
    assert supervise(tmp_path, "/no/such/program") == 127


def test_a_parent_that_is_gone_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    program = "import subprocess, sys, time; subprocess.Popen(['sleep', '600.25']); time.sleep(600)"
    assert supervise(tmp_path, sys.executable, "-I", "-S", "-c", program, close=True) in (137, 143)
    assert not descendants_with("sleep 600.25")


def test_a_command_that_will_not_end_is_killed(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    command = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh", sys.executable, "-I", "-S", "-c", program]
    assert supervise(tmp_path, *command, close=True, grace=0.5) in (137, 143)


def test_isolation_is_for_good(tmp_path: Path) -> None:
    # Where coverage is measured, the process writes its data when it ends.
    measured = [os.fspath(Path.cwd()), os.fspath(Path(os.environ.get("COVERAGE_FILE", ".coverage")).absolute().parent)]

    def work() -> int:
        supervisor.isolate(frozenset({"network-namespace"}), str(tmp_path), [])
        assert supervisor.interfaces("self") == ["lo"]
        supervisor._confine([*supervisor._SYSTEM, sys.prefix, sys.base_prefix], ["/dev", *measured])
        supervisor._prove_files()
        with pytest.raises(OSError):
            supervisor._leave_network()
        with pytest.raises(PermissionError):
            (tmp_path / "new").write_text("")
        return 0

    assert in_a_process(work) == 0
    assert int((tmp_path / supervisor.CANARY_FILE).read_text()) >= 1


def test_a_process_that_is_not_confined_does_not_pass_the_proof() -> None:
    with pytest.raises(supervisor.IsolationError):
        supervisor._prove_files()


def test_the_probe_names_what_works(capfd: pytest.CaptureFixture[str]) -> None:
    assert in_a_process(lambda: supervisor.main(["--probe"])) == 0
    assert capfd.readouterr().out.split() == ["network-namespace", "landlock"]
