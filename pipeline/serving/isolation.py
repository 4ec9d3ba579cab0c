"""What keeps a model server from the network and from the site's files, and the proof of it.

Offline switches ask a server not to use the network.  Two things make sure, wherever the system allows them:

- a network namespace with nothing but a loopback: the kernel refuses whatever tries to leave and counts it, and a
  canary that must fail proves that it does both.  It needs root or user namespaces, and a server that listens on a
  unix socket, which is reached through the file system;
- Landlock (Linux 5.13): a server can read the system's libraries, Python and its checkpoint, and write to its own
  directory; keys, evidence and other processes are out of reach, even for code that a hostile checkpoint got to run.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.digests import Json
from pipeline.errors import ServingError
from pipeline.serving import supervisor

if TYPE_CHECKING:
    from pipeline.site import ServingSettings

Isolation = Literal["none", "network-namespace", "landlock", "network-namespace+landlock"]

SUPERVISOR = Path(supervisor.__file__)
_PROBE_TIMEOUT = 60.0  # seconds; it takes a few hundredths of one


@dataclass(frozen=True)
class Possible:
    """Which isolations this machine allows, and why not the others, in one line."""

    network_namespace: bool
    landlock: bool
    reason: str

    def best(self, listen: Literal["unix", "tcp"]) -> Isolation:
        """The strongest isolation for a server that listens so."""
        network = self.network_namespace and listen == "unix"
        if network and self.landlock:
            return "network-namespace+landlock"
        if network:
            return "network-namespace"
        return "landlock" if self.landlock else "none"


def possible_isolation() -> Possible:
    """Try each isolation in a process that ends at once."""
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), "--probe"]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Possible(network_namespace=False, landlock=False, reason=f"the probe failed: {error}")
    found = probe.stdout.split()
    reason = " ".join(probe.stderr.split())[-300:]
    return Possible("network-namespace" in found, "landlock" in found, reason)


def isolation_for(settings: ServingSettings) -> Isolation:
    """What isolates a server at a site with these settings.

    Raises:
        ServingError: the site requires all that there is, and this machine does not allow it.
    """
    if settings.isolation == "none":
        return "none"
    possible = possible_isolation()
    best = possible.best(settings.listen)
    if settings.isolation == "required" and best != "network-namespace+landlock":
        unix = "" if settings.listen == "unix" else " A server that listens on a port needs the machine's network."
        raise ServingError(
            "model servers cannot be isolated here as the site requires",
            why=f"This machine allows: {best}. {possible.reason}.{unix}".replace("..", "."),
            remedy="Allow user namespaces and Landlock (Linux 5.13) and set serving.listen = 'unix', "
            "or set serving.isolation = 'auto' in airlock.toml.",
        )
    return best


@dataclass(frozen=True)
class Egress:
    """What a server's network is, as the kernel shows it from outside.

    `canaries` is the number of attempts that were made to prove the isolation, and refused; `refused` of those that the
    server made since.
    """

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
        return Egress(tuple(supervisor.interfaces(server)), canaries, refused)
    except (OSError, IndexError, ValueError):
        return None
