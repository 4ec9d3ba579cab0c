"""The store of verified checkpoints: read-only directories named by digest, from which alone models are served.

A copy appears whole or not at all: it grows in a hidden directory, which is renamed when every byte was verified.
Beside each copy lies a record of its digest and of each file's inode, size and times.  A copy is taken to be unchanged
only while all of these are, in the same boot of the machine; otherwise every byte is hashed again.  (A program that
writes to a file, or replaces it, changes its ctime, which no ordinary program can set back; after a power cut, data
that had not reached the disk could be missing although the times are right.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.digests import Digest, canonical_json, hex_of
from pipeline.errors import StorageError
from pipeline.files import read_bounded, storage_errors, storage_failure, sync_directory, write_atomic
from pipeline.manifest import Manifest
from pipeline.signature.ingest import Pass
from pipeline.signature.tree import Listing, list_tree, open_beneath, opened_directory

_INCOMING = ".incoming-"
_RECORD_LIMIT = 64 * 1024 * 1024  # bytes
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Incoming:
    """A copy that is being made: `path` will be renamed, `descriptor` is that directory, open."""

    path: Path
    descriptor: int


@dataclass(frozen=True)
class CheckpointStore:
    """Verified checkpoints below the directory `root`."""

    root: Path

    def path(self, digest: Digest) -> Path:
        """Where the checkpoint with this digest lies, if the store has it."""
        return self.root / hex_of(digest)

    def has(self, digest: Digest) -> bool:
        """Whether there is a copy of that digest, unchecked."""
        return os.path.lexists(self.path(digest))

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """An empty directory on the store's disk; removed at the end of the block unless `commit` took it.

        What an interrupted process left behind is removed first.
        """
        with storage_errors(f"cannot use the store {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            with _locked(self.root):
                self._remove_abandoned()
                path = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.root))
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield Incoming(path, descriptor)
        finally:
            if path.exists():
                remove_tree(path)
            os.close(descriptor)

    def commit(self, incoming: Incoming, manifest: Manifest) -> Path:
        """Give the copy its place and make it read-only; if another process was first, its copy is confirmed.

        Raises:
            StorageError: the disk failed, or the other copy is not intact.
        """
        place = self.path(manifest.digest)
        with storage_errors(f"cannot store {place}"):
            for directory, _, _ in os.walk(incoming.path):
                os.chmod(directory, 0o555)  # noqa: PTH101, S103  # read-only for all
            try:
                incoming.path.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                self.confirm(manifest)
                return place
            sync_directory(self.root)
        self._write_record(manifest)
        return place

    def confirm(self, manifest: Manifest) -> Path:
        """Check that the stored copy of `manifest` is intact, and return where it lies.

        The check is cheap (names, inodes, sizes, modes and times against the record) when nothing changed since
        the copy was last hashed in this boot of the machine, and hashes every byte otherwise.

        Raises:
            StorageError: there is no such copy, or it was changed.
        """
        place = self.path(manifest.digest)
        if place.is_symlink() or not place.is_dir():
            raise StorageError(
                f"the stored copy {place} cannot be used",
                why="It is no directory.",
                remedy="Find out who put something else there; then remove it and run the same command again.",
            )
        with opened_directory(place, follow=False) as root:
            listing = list_tree(root)
            if self._read_record(manifest.digest) == _record(manifest, root, listing):
                return place
            problems = self._differences(manifest, root, listing)
        if problems:
            raise StorageError(
                f"the stored copy {place} is not what was verified",
                why=f"It was changed after it was stored: {problems[0]}.",
                remedy="Find out who changed it; then remove that directory and run the same command again.",
            )
        self._write_record(manifest)
        return place

    def _differences(self, manifest: Manifest, root: int, listing: Listing) -> tuple[str, ...]:
        observed = Pass(root).run(listing.files)
        problems = (*listing.problems, *observed.problems, *_open_doors(root, listing))
        changed = sorted({entry.path for entry in set(observed.files) ^ set(manifest.files)})
        return (*problems, *(f"{path} differs" for path in changed))

    def _record_path(self, digest: Digest) -> Path:
        return self.root / f"{hex_of(digest)}.json"

    def _write_record(self, manifest: Manifest) -> None:
        with opened_directory(self.path(manifest.digest), follow=False) as root:
            record = _record(manifest, root, list_tree(root))
        write_atomic(self._record_path(manifest.digest), canonical_json(record))

    def _read_record(self, digest: Digest) -> object:
        path = self._record_path(digest)
        if not path.is_file():
            return None
        try:
            return json.loads(read_bounded(path, limit=_RECORD_LIMIT))
        except ValueError:  # an unreadable record only means that every byte is hashed again
            return None

    def _remove_abandoned(self) -> None:
        for path in self.root.glob(f"{_INCOMING}*"):
            # One that is locked has a living process; one that is gone has just been given its place, or been removed.
            with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(path, fcntl.LOCK_NB):
                if path.exists():
                    remove_tree(path)


@contextlib.contextmanager
def _locked(directory: Path, flags: int = 0) -> Iterator[None]:
    """Hold the advisory lock on `directory`.  Raises OSError, BlockingIOError with LOCK_NB among them."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory of the store, read-only parts included.

    Raises:
        StorageError: the disk failed.
    """
    try:
        for directory, _, _ in os.walk(path):
            os.chmod(directory, 0o700)  # noqa: PTH101  # a plain loop over strings
        shutil.rmtree(path)
    except OSError as error:
        raise storage_failure(f"cannot remove {path}", error) from error


def _record(manifest: Manifest, root: int, listing: Listing) -> dict[str, object]:
    """The state of a copy: equal records mean that nothing was written, replaced, added or removed in between.

    Numbers are text, because nanoseconds and inodes are beyond the integers that JSON carries safely.
    """
    return {
        "boot": _BOOT_ID.read_text().strip(),
        "digest": manifest.digest,
        "problems": list(listing.problems),
        "files": {file.path: _file_state(root, file.path) for file in listing.files},
    }


def _open_doors(root: int, listing: Listing) -> Iterator[str]:
    """One line for each file through which a copy could still be written."""
    for file in listing.files:
        status = _status(root, file.path)
        if status.st_mode & 0o222:
            yield f"{file.path} may be written"
        if status.st_nlink != 1:
            yield f"{file.path} has a second name elsewhere"


def _status(root: int, path: str) -> os.stat_result:
    descriptor = open_beneath(root, path, os.O_RDONLY)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _file_state(root: int, path: str) -> list[str]:
    status = _status(root, path)
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return [*(str(number) for number in numbers), oct(stat.S_IMODE(status.st_mode))]
