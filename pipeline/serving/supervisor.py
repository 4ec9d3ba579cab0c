"""A small program between Airlock and a model server: whatever ends Airlock ends the server and all it started.

    python -I -S supervisor.py PARENT_PID PIPE_FD GRACE_SECONDS DIRECTORY ISOLATION READABLE... -- COMMAND...
    python -I -S supervisor.py --probe

It runs COMMAND and waits.  When the pipe from its parent closes (the parent stops it, dies or is killed), or the parent
is no longer its parent, it asks COMMAND to end (SIGTERM), waits for the grace period, kills every descendant that is
left, removes DIRECTORY and exits.  It is the reaper of orphaned descendants (PR_SET_CHILD_SUBREAPER), so none escapes
by losing its own parent, whatever session or process group it moved to.  It exits with COMMAND's status, 128 + signal
where a signal ended it.

ISOLATION is `none`, or one or both of these joined by `+`; COMMAND starts only after each was proved:
- `network-namespace`: it has no network but a loopback of its own (`_prove_network`);
- `landlock`: it can read the system's libraries and the paths READABLE, write below DIRECTORY and to devices, and touch
  nothing else: no key, no evidence, no other process (`_prove_files`).
It has no privileges then.  `--probe` prints which of the two this machine allows, and on stderr why not the others.
Only the standard library is used, and there is one thread: forking is safe here.
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
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, the same on every architecture
_READ_RIGHTS = 0b1101  # execute, read file, read directory
_FILE_RIGHTS = 0b1100_0000_0000_0111  # those that make sense for a file: also write, truncate, ioctl
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15}  # how many file rights a version of Landlock knows; later ones: 16
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys")
_SETTINGS = (  # in /etc: what libraries read at their start; all of /etc would hold keys too
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "host.conf", "hosts", "resolv.conf", "gai.conf"),
    *("passwd", "group", "services", "protocols", "localtime", "timezone", "locale.alias", "mime.types", "os-release"),
    *(
        "lsb-release",
        "machine-id",
        "alternatives",
        "ssl/openssl.cnf",
        "ssl/certs",
        "pki/tls/openssl.cnf",
        "pki/tls/certs",
    ),
    *("crypto-policies", "OpenCL", "vulkan", "nvidia", "nccl.conf", "numa.conf", "libnl", "libibverbs.d"),
)
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_POLL = 0.25  # seconds between looks at the parent's life
_LEFTOVER_GRACE = 2.0  # seconds for the server's own helpers to end after it
CANARY_FILE = "canaries"  # in DIRECTORY: how many refused attempts were made for the proof
_CANARIES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation: RFC 5737, RFC 3849


class IsolationError(Exception):
    """What should be out of reach is not."""


def main(arguments: list[str]) -> int:
    """Supervise; the exit status."""
    if arguments == ["--probe"]:
        return _probe()
    parent, pipe, grace = int(arguments[0]), int(arguments[1]), float(arguments[2])
    directory, isolation = arguments[3], frozenset(arguments[4].split("+"))
    end = arguments.index("--")
    readable, command = arguments[5:end], arguments[end + 1 :]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's signals are the parent's to act on
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_end.append(number))
    _libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = _start(command, pipe, lambda: isolate(isolation, directory, readable))
    try:
        status = _watch(child, parent, pipe, asked_to_end)
        if status is None:
            status = _end(child, grace)
        _wait_for_descendants()
    finally:
        _kill_descendants()
        shutil.rmtree(directory, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)


def _libc(name: str, *arguments: int | bytes) -> None:
    """Call a function of the C library.  Raises OSError when it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _start(command: list[str], pipe: int, isolate_child: Callable[[], None]) -> int:
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
        isolate_child()
        _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: a change of privileges would clear it
        if os.getppid() == own:
            os.execvp(command[0], command)  # noqa: S606  # a list, never a shell string
    except (OSError, IsolationError) as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def isolate(isolation: frozenset[str], directory: str, readable: list[str]) -> None:
    """Isolate this process for good, and prove it.

    Raises:
        OSError: the system does not allow it.
        IsolationError: something is still in reach.
    """
    if isolation == {"none"}:
        return
    if "network-namespace" in isolation:
        _leave_network()
    _drop_privileges()
    if "network-namespace" in isolation:
        (Path(directory) / CANARY_FILE).write_text(str(_prove_network()), encoding="ascii")
    if "landlock" in isolation:
        os.scandir("/").close()  # the control: it is possible before
        _confine([*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS), *readable], ["/dev", directory])
        _prove_files()


def _leave_network() -> None:
    """Move into a new network namespace; as a user without privileges, through a user namespace."""
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


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _drop_privileges() -> None:
    """Give up every capability, here and in what is executed next, for good."""
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(64):
        try:
            _libc("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno == errno.EINVAL or (error.errno == errno.EPERM and os.geteuid() != 0):
                break  # beyond the last capability that this kernel knows; or there is none to drop
            raise
    _libc("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def _prove_network() -> int:
    """Look for any way out, and try one that must fail: the kernel must refuse it, and must count that it did.

    The count is what later proves that a server never tried (`pipeline.serving.isolation`).  Returns how many attempts
    were made.
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


def _confine(read: list[str], write: list[str]) -> None:
    """Allow this process and all it starts these paths alone (Landlock, linux/landlock.h), and no signal outwards.

    A confined process cannot trace or look into one outside either.
    """
    abi = _system_call(_CREATE_RULESET, None, 0, 1)
    rights = (1 << _RIGHTS_OF_ABI.get(abi, 16)) - 1
    scopes = 0b11 if abi >= 6 else 0  # abstract unix sockets, signals
    attributes = struct.pack("=QQQ", rights, 0, scopes)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    for path in (*read, *write):
        if Path(path).exists():
            allowed = rights if path in write else rights & _READ_RIGHTS
            _allow(ruleset, path, allowed if Path(path).is_dir() else allowed & _FILE_RIGHTS)
    _system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _system_call(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result


def _prove_files() -> None:
    """Try to list the root directory and to look into the process outside: both must be refused."""
    for attempt in (lambda: os.scandir("/").close(), lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes()):
        try:
            attempt()
        except PermissionError:
            continue
        raise IsolationError("files outside those allowed are in reach")


def _probe() -> int:
    """Try each isolation in a process of its own; print those that work."""
    for isolation in ("network-namespace", "landlock"):
        directory = tempfile.mkdtemp(prefix="airlock-probe-")
        try:
            child = os.fork()
            if child == 0:
                os._exit(_try(isolation, directory))
            if os.waitpid(child, 0)[1] == 0:
                sys.stdout.write(isolation + "\n")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def _try(isolation: str, directory: str) -> int:
    try:
        isolate(frozenset({isolation}), directory, [])
    except (OSError, IsolationError, ValueError) as error:
        sys.stderr.write(f"{isolation}: {error}\n")
        sys.stderr.flush()
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
