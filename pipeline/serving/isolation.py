"""What keeps a model server from the network, and the proof of it.

Offline switches ask a server not to use the network.  A network namespace with nothing but a loopback makes sure: the
kernel refuses whatever tries to leave and counts it, and a canary that must fail proves that it does both.  It is used
wherever the system allows it (as root, or through user namespaces) and the server listens on a unix socket, which is
reached through the file system.  It does not keep hostile code from other processes of the same user.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pipeline.digests import Json
from pipeline.serving import supervisor

Isolation = Literal["network-namespace", "none"]

SUPERVISOR = Path(supervisor.__file__)
_PROBE_TIMEOUT = 30.0  # seconds; it takes a few hundredths of one


def best_isolation(listen: Literal["unix", "tcp"]) -> Isolation:
    """The strongest isolation that this machine allows for a server that listens so."""
    return "network-namespace" if listen == "unix" and not why_not_isolated() else "none"


def why_not_isolated() -> str | None:
    """Why no server can be kept from the network here, in one line; None where it can."""
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), "--probe"]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the probe failed: {error}"
    return None if probe.returncode == 0 else (" ".join(probe.stderr.split())[-300:] or "the probe failed")


@dataclass(frozen=True)
class Egress:
    """What a server's network is, as the kernel shows it from outside.

    `canaries` is the number of attempts that were made to prove the isolation, and refused; `refused` of those that the
    server made since.
    """

    isolation: Isolation
    interfaces: tuple[str, ...]
    canaries: int
    refused: int

    def to_json(self) -> dict[str, Json]:
        """The report as it stands in evidence."""
        return {**asdict(self), "interfaces": list(self.interfaces)}


def egress_of(supervisor_pid: int, private: Path) -> Egress | None:
    """The network of the isolated server under `supervisor_pid`; None when it has just ended."""
    try:
        canaries = int((private / supervisor.CANARY_FILE).read_text(encoding="ascii"))
        server = str(supervisor.descendants(supervisor_pid)[0])
        refused = supervisor.refused_egress(server) - canaries
        return Egress("network-namespace", tuple(supervisor.interfaces(server)), canaries, refused)
    except (OSError, IndexError, ValueError):
        return None
