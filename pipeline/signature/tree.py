"""What lies in a checkpoint directory, listed without following a single link.

Every open is relative to a directory already open and refuses links, so that nothing which is swapped meanwhile can
lead out of the checkpoint.  Only regular files and directories are acceptable; anything else is a problem, with one
line that names it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.signature.paths import collisions, path_problem

ENTRY_LIMIT = 100_000  # files and directories; the largest public checkpoints have about a thousand
_KINDS = {
    stat.S_IFLNK: "a symbolic link, which could point anywhere",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class ListedFile:
    """A regular file: its path from the checkpoint's top, its size in bytes, and which inode it is."""

    path: str
    size: int
    device: int
    inode: int


@dataclass(frozen=True)
class Listing:
    """All regular files below a directory, and one line for each thing that may not be there."""

    files: tuple[ListedFile, ...]
    problems: tuple[str, ...]


@contextlib.contextmanager
def opened_directory(path: Path, *, follow: bool = True) -> Iterator[int]:
    """A descriptor of the directory `path`, for as long as the block lasts; it may be a link to one with `follow`.

    Raises:
        RequestError: it is no directory, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise RequestError(
            f"cannot read the checkpoint {path}",
            why=f"The system says: {error.strerror}.",
            remedy="Give the path of a directory that this user may read.",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_tree(root: int) -> Listing:
    """Every regular file below the open directory `root`, and what else is there."""
    walk = _Walk()
    walk.directory(root, "")
    problems = [*walk.problems, *collisions(file.path for file in walk.files)]
    if walk.entries > ENTRY_LIMIT:
        problems.append(f"the checkpoint has more than {ENTRY_LIMIT} files and directories")
    return Listing(tuple(sorted(walk.files, key=lambda file: file.path)), tuple(problems))


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open `path` below the open directory `root`; no part of it may be a link.  Raises OSError."""
    *parents, name = path.split("/")
    directory = os.dup(root)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def shown(path: str) -> str:
    """`path` for a message: what is not valid UTF-8 is written as escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def reading_problem(path: str, error: OSError) -> str:
    """One line for a file or directory that could not be read."""
    if error.errno == errno.ELOOP:
        return f"{shown(path)}: became a symbolic link while the checkpoint was read"
    return f"{shown(path)}: cannot be read ({error.strerror})"


@dataclass
class _Walk:
    """A walk over a tree: what was found so far.  It stops past the limit, so that its memory is bounded."""

    files: list[ListedFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    entries: int = 0

    def directory(self, directory: int, prefix: str) -> None:
        """Look at everything in the open `directory`, whose path is `prefix`."""
        try:
            with os.scandir(directory) as scan:
                names = sorted(entry.name for entry in itertools.islice(scan, ENTRY_LIMIT + 1))
        except OSError as error:
            self.problems.append(reading_problem(prefix.removesuffix("/") or ".", error))
            return
        for name in names:
            self.entries += 1
            if self.entries > ENTRY_LIMIT:
                return
            path = prefix + name
            if problem := path_problem(path):
                self.problems.append(f"{shown(path)}: {problem}")
                continue
            try:
                self._entry(directory, name, path)
            except OSError as error:
                self.problems.append(reading_problem(path, error))

    def _entry(self, parent: int, name: str, path: str) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            self.files.append(ListedFile(path, status.st_size, status.st_dev, status.st_ino))
        elif not stat.S_ISDIR(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind")
            self.problems.append(f"{path}: is {kind}; only regular files are accepted")
        else:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                self.directory(inner, path + "/")
            finally:
                os.close(inner)
