"""Can this machine, and this site, do the work?  Each question is asked alone, so that all problems show at once.

Nothing is started, loaded or changed: the answer comes in a second, before hours are spent.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipeline.digests import sha256
from pipeline.errors import AirlockError, RequestError
from pipeline.files import read_bounded
from pipeline.keys import load_signing_key, load_verifying_key
from pipeline.serving.isolation import Possible, possible_isolation
from pipeline.serving.vllm import Engine, installed_engine
from pipeline.site import CertificateSigner, KeylessSigner, KeySigner, Signer, Site, load_site

Status = Literal["ok", "warn", "fail"]
"""`fail`: the work cannot be done.  `warn`: it can, with the drawback named."""

_GB = 10**9
_MEMORY_NEEDED, _MEMORY_WANTED = 3 * _GB, 6 * _GB  # a server of a 135M model takes 2 GB, a check's data 1 GB
_DISK_NEEDED, _DISK_WANTED = 1 * _GB, 10 * _GB
_SHARED_NEEDED = 64 * 1024 * 1024  # bytes; what the processes of a server exchange
_CUDA_LINKED = ("torchvision", "torchaudio", "torchcodec")


@dataclass(frozen=True)
class Diagnosis:
    """One answer.  `found` is a fact, `remedy` what to do where something is wrong."""

    id: str
    status: Status
    found: str
    remedy: str = ""


def diagnose(site_file: Path) -> tuple[Diagnosis, ...]:
    """Everything that can be asked of this machine, and of the site whose file is `site_file`."""
    return (*_machine(), *_site(site_file))


def _machine() -> Iterator[Diagnosis]:
    yield _python()
    yield _packages()
    yield from _engine()
    yield _cores(len(os.sched_getaffinity(0)))
    yield _amount(
        "memory", _available_memory(), _MEMORY_NEEDED, _MEMORY_WANTED, "Free memory, or use a larger machine."
    )
    yield _room("shared-memory", Path("/dev/shm"), _SHARED_NEEDED, _SHARED_NEEDED)  # noqa: S108  # looked at only
    yield _room("temporary-directory", Path(tempfile.gettempdir()), _DISK_NEEDED, _DISK_NEEDED)
    yield _isolation(possible_isolation())


def _python() -> Diagnosis:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Diagnosis("python", "ok", version)
    return Diagnosis("python", "fail", version, "Install Airlock in an environment of Python 3.11 or 3.12.")


def _packages() -> Diagnosis:
    """Whether every package that Airlock declares is installed."""
    try:
        declared = metadata.requires("airlock") or []
    except metadata.PackageNotFoundError:
        return Diagnosis("packages", "warn", "Airlock runs from a source tree", "Install it with pip, or run ci/setup.")
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in declared if "extra ==" not in line]
    missing = [name for name in names if _version(name) is None]
    if missing:
        return Diagnosis(
            "packages", "fail", f"missing: {', '.join(missing)}", "Install Airlock again, or run ci/setup."
        )
    return Diagnosis("packages", "ok", f"all {len(names)} are installed")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _engine() -> Iterator[Diagnosis]:
    try:
        engine = installed_engine()
    except AirlockError as error:
        yield Diagnosis("engine", "fail", error.what, error.remedy)
        return
    yield Diagnosis("engine", "ok", f"{engine.distribution} {engine.version}")
    yield _accelerator(engine, gpu=Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists())
    if engine.on_cpu:
        yield _companions([name for name in _CUDA_LINKED if _version(name) is not None])


def _accelerator(engine: Engine, *, gpu: bool) -> Diagnosis:
    if engine.on_cpu and gpu:
        remedy = "Install Airlock with the extra [gpu] to use it."
        return Diagnosis("accelerator", "warn", "there is a GPU, but the engine installed uses none", remedy)
    if engine.on_cpu:
        return Diagnosis("accelerator", "ok", "none, and the engine installed needs none")
    if gpu:
        return Diagnosis("accelerator", "ok", "a GPU and its driver are there")
    remedy = "Install the GPU's driver, or install Airlock with the extra [cpu]."
    return Diagnosis("accelerator", "fail", "the engine installed needs a GPU, and there is none", remedy)


def _companions(found: list[str]) -> Diagnosis:
    """Builds of these packages that are linked against CUDA break transformers beside a CPU build of PyTorch."""
    foreign = [name for name in found if "+cpu" not in (_version(name) or "")]
    if not foreign:
        return Diagnosis("cuda-linked-packages", "ok", "none")
    remedy = f"Remove them: pip uninstall {' '.join(foreign)} (or run ci/setup again)."
    return Diagnosis("cuda-linked-packages", "fail", f"installed: {', '.join(foreign)}", remedy)


def _cores(count: int) -> Diagnosis:
    if count >= 2:
        return Diagnosis("cores", "ok", str(count))
    return Diagnosis("cores", "warn", str(count), "One core serves and measures in turn; speeds will be poor.")


def _available_memory() -> int:
    """Bytes that can be had without swapping, within the limit of this process's control group."""
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    available = int(match[1]) * 1024 if match else 0
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return min(available, int(limit) - used) if limit.isdigit() else available


def _amount(name: str, found: int, needed: int, wanted: int, remedy: str) -> Diagnosis:
    text = f"{found / _GB:.1f} GB available"
    if found >= wanted:
        return Diagnosis(name, "ok", text)
    if found >= needed:
        return Diagnosis(name, "warn", f"{text}; {wanted / _GB:.0f} GB is better", remedy)
    return Diagnosis(name, "fail", f"{text}; at least {needed / _GB:.1f} GB is needed", remedy)


def _room(name: str, directory: Path, needed: int, wanted: int) -> Diagnosis:
    """Whether files can be written where `directory` is or would be made, and whether there is room."""
    existing = next(place for place in (directory, *directory.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = "Choose another place in airlock.toml, or run as a user who may write there."
        return Diagnosis(name, "fail", f"{existing} cannot be written to", remedy)
    return _amount(name, shutil.disk_usage(existing).free, needed, wanted, f"Free space on the disk of {existing}.")


def _isolation(possible: Possible) -> Diagnosis:
    texts = {
        "network-namespace+landlock": "servers run without network, and confined to their own files",
        "network-namespace": "servers run without network",
        "landlock": "servers run confined to their own files",
        "none": "nothing but switches keeps servers from the network",
    }
    best = possible.best("unix")
    if best == "network-namespace+landlock":
        return Diagnosis("isolation", "ok", texts[best])
    remedy = "Allow user namespaces and Landlock (Linux 5.13), or accept that evidence names the weaker isolation."
    return Diagnosis("isolation", "warn", f"{texts[best]} ({possible.reason})", remedy)


def _site(path: Path) -> Iterator[Diagnosis]:
    try:
        site = load_site(path)
    except AirlockError as error:
        yield Diagnosis("site", "fail", f"{error.what}: {error.why}", error.remedy)
        return
    yield Diagnosis("site", "ok", str(path))
    yield _room("store", site.store.path, _DISK_NEEDED, _DISK_WANTED)
    if site.registry.url.startswith("layout:"):
        layout = path.absolute().parent / site.registry.url.removeprefix("layout:")
        yield _room("registry", layout, _DISK_NEEDED, _DISK_WANTED)
    yield _pipeline_key(site)
    for name, signer in site.signers.items():
        yield _readable(f"signer.{name}", partial(_read_signer, signer))
    for name, person in site.people.items():
        for key in person.public_keys:
            yield _readable(f"person.{name}", partial(_key_digest, key))
    for root in site.data.roots:
        yield _data(root)


def _pipeline_key(site: Site) -> Diagnosis:
    found = _readable("pipeline-key", lambda: load_signing_key(site.pipeline.key).verifying_key.digest)
    if found.status == "ok" and site.pipeline.key.stat().st_mode & 0o077:
        remedy = f"Run: chmod 600 {site.pipeline.key}"
        return Diagnosis("pipeline-key", "warn", "other users of this machine may read or write it", remedy)
    return found


def _readable(name: str, read: Callable[[], str]) -> Diagnosis:
    try:
        return Diagnosis(name, "ok", read())
    except AirlockError as error:
        return Diagnosis(name, "fail", f"{error.what}: {error.why}", error.remedy)


def _key_digest(path: Path) -> str:
    return load_verifying_key(path).digest


def _read_signer(signer: Signer) -> str:
    """Read what the site says of a signer.  Raises AirlockError."""
    match signer:
        case KeySigner():
            return _key_digest(signer.public_key)
        case CertificateSigner():
            for root in signer.roots:
                read_bounded(root)
            return f"{len(signer.roots)} root certificates"
        case KeylessSigner():
            return _read_trust(signer)


def _read_trust(signer: KeylessSigner) -> str:
    found = sha256(read_bounded(signer.trust_config))
    if found != f"sha256:{signer.trust_config_sha256}":
        raise RequestError(
            f"{signer.trust_config} is not the trust configuration that the site pinned",
            why=f"Its digest is {found}.",
            remedy="Restore the file, or have the site's owner check the new one and pin its digest.",
        )
    return found


def _data(root: Path) -> Diagnosis:
    if root.is_dir() and os.access(root, os.R_OK | os.X_OK):
        return Diagnosis("data", "ok", str(root))
    remedy = "Put the benchmark data there, or correct data.roots; the built-in suites need none."
    return Diagnosis("data", "warn", f"{root} is no readable directory", remedy)
