"""A small program between Airlock and a model server: whatever ends Airlock ends the server and all it started.

    python -I -S supervisor.py PARENT_PID PIPE_FD GRACE_SECONDS DIRECTORY ISOLATION -- COMMAND...
    python -I -S supervisor.py --probe

It runs COMMAND and waits.  When the pipe from its parent closes (the parent stops it, dies or is killed), or the parent
is no longer its parent, it asks COMMAND to end (SIGTERM), waits for the grace period, kills every descendant that is
left, removes DIRECTORY and exits.  It is the reaper of orphaned descendants (PR_SET_CHILD_SUBREAPER), so none escapes
by losing its own parent, whatever session or process group it moved to.  It exits with COMMAND's status, 128 + signal
where a signal ended it.

With the ISOLATION `network-namespace`, COMMAND starts without privileges in a network namespace that holds nothing but
its own loopback, and only after that was proved (see `_prove_isolation`).  `--probe` tries just that, and exits 0 where
this machine allows it.  Only the standard library is used, and it has one thread: forking is safe here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_POLL = 0.25  # seconds between looks at the parent's life
_LEFTOVER_GRACE = 2.0  # seconds for the server's own helpers to end after it
CANARY_FILE = "canaries"  # in DIRECTORY: how many refused attempts were made for the proof
_CANARIES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation: RFC 5737, RFC 3849


class IsolationError(Exception):
    """The network is not out of reach."""


def main(arguments: list[str]) -> int:
    """Supervise; the exit status."""
    if arguments == ["--probe"]:
        return _probe()
    parent, pipe, grace = int(arguments[0]), int(arguments[1]), float(arguments[2])
    directory, isolation, command = arguments[3], arguments[4], arguments[6:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's signals are the parent's to act on
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_end.append(number))
    _libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = _start(command, pipe, directory, isolation)
    try:
        status = _watch(child, parent, pipe, asked_to_end)
        if status is None:
            status = _end(child, grace)
        _wait_for_descendants()
    finally:
        _kill_descendants()
        shutil.rmtree(directory, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)


def _libc(name: str, *arguments: int) -> None:
    """Call a function of the C library.  Raises OSError when it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _start(command: list[str], pipe: int, directory: str, isolation: str) -> int:
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
        if isolation == "network-namespace":
            (Path(directory) / CANARY_FILE).write_text(str(leave_network()), encoding="ascii")
        _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: a change of privileges would clear it
        if os.getppid() == own:
            os.execvp(command[0], command)  # noqa: S606  # a list, never a shell string
    except (OSError, IsolationError) as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def leave_network() -> int:
    """Move this process into a network namespace with only a loopback of its own, without privileges to leave it.

    Returns how many attempts to reach the network were made to prove it.

    Raises:
        OSError: the system does not allow it.
        IsolationError: the network is still in reach.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _libc("unshare", _CLONE_NEWNET)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _raise_loopback()
    _drop_privileges()
    return _prove_isolation()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _drop_privileges() -> None:
    """What is executed next has no capability, and can get none: it cannot go back to the machine's network."""
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(64):
        try:
            _libc("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno == errno.EINVAL:  # beyond the last capability that this kernel knows
                return
            raise


def _prove_isolation() -> int:
    """Look for any way out, and try one that must fail: the kernel must refuse it, and must count that it did.

    The count is what later proves that a server never tried (`pipeline.serving.isolation`).
    """
    found = interfaces("self")
    if found != ["lo"]:
        raise IsolationError(f"there are other network interfaces than loopback: {', '.join(found) or 'not even it'}")
    if len(_lines("/proc/self/net/route")) > 1:
        raise IsolationError("there is a route out of this machine")
    before = refused_egress("self")
    tried = sum(_refused(family, address) for family, address in _CANARIES)
    if refused_egress("self") != before + tried:
        raise IsolationError("the kernel does not count attempts to reach the network")
    return tried


def _refused(family: int, address: str) -> int:
    """Try to reach `address`: 1 when that is refused for want of a route, 0 where the family does not exist."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as canary:
            canary.connect((address, 53))
    except OSError as error:
        if error.errno == errno.ENETUNREACH:
            return 1
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return 0
        raise IsolationError(f"an attempt to reach the network failed for another reason: {error}") from error
    raise IsolationError(f"the network is in reach: {address} has a route")


def refused_egress(process: str) -> int:
    """How often the kernel refused packets of the process's network namespace for want of a route (IPv4 and IPv6).

    Raises:
        OSError: the process has ended.
    """
    names, values = [line.split() for line in _lines(f"/proc/{process}/net/snmp") if line.startswith("Ip:")]
    total = int(values[names.index("OutNoRoutes")])
    v6 = Path(f"/proc/{process}/net/snmp6")
    if v6.exists():
        total += sum(int(line.split()[1]) for line in _lines(str(v6)) if line.startswith("Ip6OutNoRoutes"))
    return total


def interfaces(process: str) -> list[str]:
    """The network interfaces that the process sees.  Raises OSError when it has ended."""
    return [line.partition(":")[0].strip() for line in _lines(f"/proc/{process}/net/dev")[2:]]


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="ascii").splitlines()


def _probe() -> int:
    try:
        leave_network()
    except (OSError, IsolationError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


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
    while True:
        status = _reap(child)
        if status is not None:
            return status
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
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
        for process in descendants(os.getpid()):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def descendants(ancestor: int) -> list[int]:
    """The ids of all processes below `ancestor`, its children first."""
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
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
