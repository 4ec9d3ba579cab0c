"""A small program between Airlock and a model server: whatever ends Airlock ends the server and all it started.

    python -I -S supervisor.py PARENT_PID PIPE_FD GRACE_SECONDS DIRECTORY -- COMMAND...

It runs COMMAND and waits.  When the pipe from its parent closes (the parent stops it, dies or is killed), or the parent
is no longer its parent, it asks COMMAND to end (SIGTERM), waits for the grace period, kills every descendant that is
left, removes DIRECTORY and exits.  It is the reaper of orphaned descendants (PR_SET_CHILD_SUBREAPER), so none escapes
by losing its own parent, whatever session or process group it moved to.  It exits with COMMAND's status, 128 + signal
where a signal ended it.  Only the standard library is used, and it has one thread: forking is safe here.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.25  # seconds between looks at the parent's life
_LEFTOVER_GRACE = 2.0  # seconds for the server's own helpers to end after it


def main(arguments: list[str]) -> int:
    """Supervise; the exit status."""
    parent, pipe, grace, directory = int(arguments[0]), int(arguments[1]), float(arguments[2]), arguments[3]
    command = arguments[arguments.index("--") + 1 :]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's signals are the parent's to act on
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_end.append(number))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = _start(command, pipe)
    try:
        status = _watch(child, parent, pipe, asked_to_end)
        if status is None:
            status = _end(child, grace)
        _wait_for_descendants()
    finally:
        _kill_descendants()
        shutil.rmtree(directory, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _start(command: list[str], pipe: int) -> int:
    """Start `command` in a process group of its own; it dies with this process even if that is killed outright."""
    own = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.close(pipe)
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == own:
            os.execvp(command[0], command)  # noqa: S606  # a list, never a shell string
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
    os._exit(127)


def _watch(child: int, parent: int, pipe: int, asked_to_end: list[int]) -> int | None:
    """Wait until the child ends (its wait status), or until this process should end it (None)."""
    while True:
        if select.select([pipe], [], [], _POLL)[0] or os.getppid() != parent or asked_to_end:
            return None
        status = _reap(child)
        if status is not None:
            return status


def _reap(child: int) -> int | None:
    """Collect every process that has ended; the child's wait status if it is among them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == child:
            found = status


def _end(child: int, grace: float) -> int:
    """Ask the child to end, and kill it if it does not within `grace` seconds; its wait status."""
    os.kill(child, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until:
        status = _reap(child)
        if status is not None:
            return status
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    while True:
        status = _reap(child)
        if status is not None:
            return status
        time.sleep(0.02)


def _wait_for_descendants() -> None:
    """Give helpers of the ended child a moment: Python's resource tracker then removes shared memory that it left."""
    until = time.monotonic() + _LEFTOVER_GRACE
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
        except ChildProcessError:
            return


def _kill_descendants() -> None:
    """Kill until no descendant is left: each round, those that lost their parent have become children of this one."""
    while True:
        for process in _descendants(os.getpid()):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(ancestor: int) -> list[int]:
    """The ids of all processes below `ancestor`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b") ")[2].split()
            except OSError:
                continue  # it has just ended
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
