"""On a disk that can share blocks, the copy in the store is a clone: it takes no space, and it is what is hashed.

The disk is a real XFS in a file, mounted for the test; where mounting is not allowed, the kernel's answer is imitated.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import ManifestError
from pipeline.signature import ingest, verify_candidate
from tests.pipeline.signature.parts import Workplace, make_workplace

_DISK_SIZE = 512 << 20  # bytes; XFS takes no less than 300 MB.  The file has holes
_WEIGHTS = 64 << 20  # bytes


@dataclass(frozen=True)
class Disk:
    """A place whose disk can share blocks; `real` says whether the kernel does it."""

    path: Path
    real: bool

    def used(self) -> int:
        """Bytes in use, all of them on the disk."""
        os.sync()
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A mounted XFS, or an ordinary directory where cloning is imitated by copying."""
    with contextlib.ExitStack() as stack:
        if _mounted(tmp_path, stack):
            yield Disk(tmp_path / "mounted", real=True)
            return
        monkeypatch.setattr(fcntl, "ioctl", _copy_as_the_kernel_would_clone)
        yield Disk(tmp_path, real=False)


def _mounted(folder: Path, stack: contextlib.ExitStack) -> bool:
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        return False
    image, place = folder / "disk.img", folder / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(_DISK_SIZE)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False, capture_output=True)
    if mounted.returncode == 0:
        stack.callback(subprocess.run, ["umount", str(place)], check=True)
    return mounted.returncode == 0


def _copy_as_the_kernel_would_clone(target: int, request: int, source: int) -> int:
    assert request == ingest._FICLONE
    os.pwrite(target, os.pread(source, os.fstat(source).st_size, 0), 0)
    return 0


def workplace_on(disk: Disk) -> Workplace:
    return make_workplace(disk.path, {"config.json": b"{}", "model.safetensors": os.urandom(_WEIGHTS)})


def test_the_copy_is_a_clone_that_takes_no_space(disk: Disk) -> None:
    workplace = workplace_on(disk)
    before = disk.used()
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    submitted = workplace.checkpoint / "model.safetensors"
    assert (root / "model.safetensors").read_bytes() == submitted.read_bytes()
    assert (root / "model.safetensors").stat().st_ino != submitted.stat().st_ino
    if disk.real:
        assert disk.used() - before < _WEIGHTS // 8


def test_what_the_submitter_writes_later_does_not_reach_the_clone(disk: Disk) -> None:
    workplace = workplace_on(disk)
    submitted = workplace.checkpoint / "model.safetensors"
    signed = submitted.read_bytes()
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    with submitted.open("r+b") as file:
        file.write(b"edited in place")
    assert (root / "model.safetensors").read_bytes() == signed


def test_the_clone_is_what_is_hashed(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submitter who edits the file just after it was cloned gains nothing: the clone has the signed bytes."""
    workplace = workplace_on(disk)
    submitted = workplace.checkpoint / "model.safetensors"
    signed, clone = submitted.read_bytes(), ingest._cloned

    def clone_and_edit(source: int, copy: int) -> bool:
        cloned = clone(source, copy)
        if os.fstat(source).st_size == _WEIGHTS:
            status = submitted.stat()
            with submitted.open("r+b") as file:
                file.write(b"edited in place")
            os.utime(submitted, ns=(status.st_atime_ns, status.st_mtime_ns))
        return cloned

    monkeypatch.setattr(ingest, "_cloned", clone_and_edit)
    with pytest.raises(ManifestError, match="changed while it was read"):
        verify_candidate(workplace.candidate(), workplace.site())
    submitted.write_bytes(signed)
    monkeypatch.setattr(ingest, "_cloned", clone)
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    assert (root / "model.safetensors").read_bytes() == signed


def test_attack_a_changed_file_is_denied_although_it_was_cloned(disk: Disk) -> None:
    workplace = workplace_on(disk)
    with (workplace.checkpoint / "model.safetensors").open("r+b") as file:
        file.seek(_WEIGHTS // 2)
        file.write(b"backdoor")
    with pytest.raises(ManifestError, match=r"model\.safetensors: was changed after it was signed"):
        verify_candidate(workplace.candidate(), workplace.site())
    assert workplace.stored() == []
