"""A model server as a child process: started, waited for, watched, and never left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.contract import Sampling
from pipeline.checkpoint.inspected import Checkpoint
from pipeline.errors import ServingError
from pipeline.files import storage_errors
from pipeline.planning import ServingPlan
from pipeline.serving import vllm
from pipeline.serving.client import Served, ServedModel
from pipeline.serving.description import ServingDescription
from pipeline.serving.isolation import SUPERVISOR, Egress, Isolation, egress_of
from pipeline.serving.transport import Endpoint, Patience
from pipeline.site import ServingSettings, Site

_GRACE = 10.0  # seconds for a server to end by itself
_POLL = 0.25  # seconds between two looks at a starting server
_TAIL = 4096  # bytes of the log shown when the server dies
_SOCKET_LIMIT = 100  # bytes; the kernel's limit for the path of a unix socket is 107


@dataclass(frozen=True)
class Start:
    """What to start: the command, its environment, where it listens, and a directory for it that goes when it ends.

    With Landlock, the server can read the paths `readable` beside the system's own, and write to `private` alone.
    """

    command: Sequence[str]
    environment: dict[str, str]
    endpoint: Endpoint
    private: Path
    isolation: Isolation = "none"
    readable: tuple[Path, ...] = ()


class Child:
    """A running server under its supervisor.  `stop` may be called at any time, and more than once."""

    def __init__(self, start: Start, log: Path) -> None:
        """Raises StorageError when the log cannot be written."""
        self._log = log
        self._private = start.private
        self._isolation = start.isolation
        reader, self._pipe = os.pipe()
        try:
            with storage_errors(f"cannot write the server's log {log}"):
                log.parent.mkdir(parents=True, exist_ok=True)
                output = log.open("wb")
            with output:
                self._process = subprocess.Popen(
                    self._supervised(start, reader),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=start.environment,
                    cwd=start.private,
                    pass_fds=(reader,),
                    start_new_session=True,
                )
        except BaseException:  # also Ctrl-C: clean up, then let it go on
            os.close(self._pipe)
            raise
        finally:
            os.close(reader)

    @staticmethod
    def _supervised(start: Start, reader: int) -> list[str]:
        head = [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), str(reader), str(_GRACE)]
        return [*head, str(start.private), start.isolation, *map(str, start.readable), "--", *start.command]

    def egress(self) -> Egress | None:
        """What the server's network is; None where it is the machine's own, or where the server has ended."""
        return egress_of(self._process.pid, self._private) if "network-namespace" in self._isolation else None

    def check_alive(self, seconds: float = 0.0) -> None:
        """Raises ServingError, with the log's tail, when the server has ended or ends within `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(seconds)
            raise self.failure("the model server died", f"It ended with {_ending(status)}.")

    def failure(self, what: str, why: str) -> ServingError:
        """The error that shows why the server failed: its log's last lines."""
        return ServingError(
            what,
            why=f"{why} The end of its log:\n{log_tail(self._log)}\n",
            remedy=f"See the whole log at {self._log}; mend what it names, then run the same command again.",
        )

    def stop(self) -> None:
        """End the server and everything that it started."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)
        try:
            self._process.wait(_GRACE + 20)
        except subprocess.TimeoutExpired:
            # The supervisor itself is stuck; the server dies with it.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._private, ignore_errors=True)


def _ending(status: int) -> str:
    number = -status if status < 0 else status - 128
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(number).name}"
    return f"exit status {status}"


def log_tail(log: Path) -> str:
    """The last lines of `log`."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except OSError as error:
        return f"(the log cannot be read: {error.strerror})"
    return "\n".join(text.splitlines()[-25:]) or "(the log is empty)"


def wait_until_ready(model: ServedModel, child: Child, timeout: float) -> None:
    """Wait until the server has answered a request with one token.

    Health checks are not enough: they say yes while the engine behind them is stopped or misconfigured.

    Raises:
        ServingError: the server died, or did not answer within `timeout` seconds.
    """
    until = time.monotonic() + timeout
    last = "nothing listened"
    while time.monotonic() < until:
        child.check_alive()
        try:
            answer = model.complete(["."], Sampling(max_tokens=1))[0]
        except ServingError as error:
            child.check_alive()
            last = error.why
        else:
            if answer.error is None and answer.completion_tokens > 0:
                return
            last = answer.error or "it answered without a token"
        time.sleep(_POLL)
    raise child.failure("the model server did not start", f"It was not ready within {timeout:g} seconds: {last}.")


def private_directory() -> Path:
    """A new directory, for this user alone, with a path short enough for a unix socket.  Raises StorageError."""
    with storage_errors("cannot make a private directory for the model server"):
        base = tempfile.gettempdir()
        if len(base.encode()) > _SOCKET_LIMIT - 40:
            base = "/tmp"  # noqa: S108  # mkdtemp makes a directory of mode 0700 with an unguessable name
        return Path(tempfile.mkdtemp(prefix="airlock-", dir=base))


def free_port(wanted: int | None) -> int:
    """A free port on loopback: `wanted`, or any.

    Raises:
        ServingError: `wanted` is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise ServingError(
                f"port {wanted} is taken",
                why=f"Another program listens on 127.0.0.1:{wanted} ({error.strerror}).",
                remedy="Stop it, choose another serving.port in airlock.toml, or set serving.listen = 'unix'.",
            ) from error
        return int(probe.getsockname()[1])


def _place(settings: ServingSettings, private: Path) -> tuple[vllm.Listen, Endpoint]:
    """Where the server listens, and how it is reached.  On TCP, where every local user can connect, a key is needed."""
    if settings.listen == "unix":
        path = private / "model.sock"
        return vllm.Listen(socket=path), Endpoint(f"unix:{path}")
    port = free_port(settings.port)
    return vllm.Listen(port=port), Endpoint(f"http://127.0.0.1:{port}", key=secrets.token_urlsafe(24))


@contextlib.contextmanager
def serve_local(
    checkpoint: Checkpoint, plan: ServingPlan, site: Site, description: ServingDescription, *, log: Path
) -> Iterator[ServedModel]:
    """The served model, for as long as the context lasts; see `pipeline.serving.serve`."""
    name = checkpoint.verified.candidate.name
    private = private_directory()
    try:
        listen, endpoint = _place(site.serving, private)
        # The name is new each time: a server left by somebody else on the same port does not know it.
        served_name = f"{name}-{secrets.token_hex(4)}"
        root = checkpoint.verified.root
        start = Start(
            command=vllm.command(description, root, served_name, listen),
            environment=vllm.environment(description, private, os.environ, key=endpoint.key),
            endpoint=endpoint,
            private=private,
            isolation=description.isolation,
            readable=vllm.readable_paths(root, os.environ),
        )
        served = Served(endpoint, served_name, name, root, plan.max_model_len, description)
        with running(start, served, log=log, timeout=site.serving.start_timeout_seconds) as model:
            yield model
    finally:
        shutil.rmtree(private, ignore_errors=True)


@contextlib.contextmanager
def running(start: Start, served: Served, *, log: Path, timeout: float) -> Iterator[ServedModel]:
    """The model that `start` serves, once it is ready; the server ends with the context, however that ends.

    Raises:
        ServingError: the server died or was not ready within `timeout` seconds.
        StorageError: the log cannot be written.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, start.private, ignore_errors=True)
        child = Child(start, log)
        stack.callback(child.stop)
        patience = Patience(request=timeout, attempts=1)
        # A server that does not listen yet is not dying: nothing waits for its end.
        starting = ServedModel(served, patience=patience, check_alive=lambda _seconds: child.check_alive())
        wait_until_ready(starting, child, timeout)
        yield ServedModel(served, check_alive=child.check_alive, on_close=child.stop, egress=child.egress)
