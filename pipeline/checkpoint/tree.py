"""The files of a checkpoint directory: listed without following links, read within bounds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.errors import RequestError
from pipeline.files import storage_errors

_MOST_FILES = 5_000  # the largest published checkpoints have some hundreds


@dataclass(frozen=True)
class File:
    """A regular file: `name` is relative to the checkpoint, with '/' between parts; `size` is in bytes."""

    name: str
    path: Path
    size: int

    @property
    def suffix(self) -> str:
        """The extension in lower case, with its dot; empty where there is none."""
        return self.path.suffix.lower()

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or fewer.  Raises StorageError."""
        return self.part(0, length)

    def tail(self, length: int) -> bytes:
        """The last `length` bytes, or fewer.  Raises StorageError."""
        return self.part(max(0, self.size - length), length)

    def part(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`.  Raises StorageError."""
        with storage_errors(f"cannot read {self.path}"):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as opened:
                opened.seek(offset)
                return opened.read(length)


@dataclass(frozen=True)
class Tree:
    """The regular files, sorted by name, and what was wrong with the rest."""

    root: Path
    files: tuple[File, ...]
    findings: tuple[Finding, ...]

    def get(self, name: str) -> File | None:
        """The file called `name`, if there is one."""
        return next((file for file in self.files if file.name == name), None)

    def named(self, *suffixes: str) -> tuple[File, ...]:
        """The files whose lower-case name ends in one of `suffixes`."""
        return tuple(file for file in self.files if file.name.lower().endswith(suffixes))


def list_tree(root: Path) -> Tree:
    """List the directory `root`.

    Raises:
        RequestError: `root` is no directory.
    """
    if root.is_symlink() or not root.is_dir():
        raise RequestError(
            f"cannot inspect {root}",
            why="It is not a directory.",
            remedy="Give the directory that holds config.json and the weights.",
        )
    files: list[File] = []
    findings: list[Finding] = []
    for item in _walk(root, root):
        if isinstance(item, Finding):
            findings.append(item)
        else:
            files.append(item)
            findings.extend(_name_problems(item))
        if len(files) + len(findings) > _MOST_FILES:
            findings.append(finding("checkpoint.too-many-files", None, f"There are more than {_MOST_FILES} files."))
            break
    if not files:
        findings.append(finding("checkpoint.empty", None, "The directory holds no file."))
    return Tree(root, tuple(sorted(files, key=lambda file: file.name)), tuple(findings))


def _walk(root: Path, directory: Path) -> Iterator[File | Finding]:
    """Every entry below `directory`; links and directories that cannot be opened become findings."""
    pending = [directory]
    while pending:
        current = pending.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            yield finding("checkpoint.unreadable", _relative(root, current), f"It cannot be listed: {error.strerror}.")
            continue
        for entry in entries:
            path = Path(entry.path)
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError as error:
                yield finding("checkpoint.unreadable", _relative(root, path), f"It cannot be read: {error.strerror}.")
                continue
            if stat.S_ISDIR(state.st_mode):
                pending.append(path)
            else:
                yield _classified(root, path, state)


def _classified(root: Path, path: Path, state: os.stat_result) -> File | Finding:
    name, mode = _relative(root, path), state.st_mode
    if stat.S_ISLNK(mode):
        return finding("checkpoint.link", name, "It is a symbolic link, which could point anywhere.")
    if not stat.S_ISREG(mode):
        return finding("checkpoint.special-file", name, "It is a device, a socket or a pipe.")
    if not os.access(path, os.R_OK):
        return finding("checkpoint.unreadable", name, "Its permissions do not allow reading it.")
    return File(name, path, state.st_size)


def _relative(root: Path, path: Path) -> str:
    """The name of `path` below `root` as text that can be printed and stored, whatever bytes it has on disk."""
    return os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")


def _name_problems(file: File) -> list[Finding]:
    raw = os.fsencode(file.path.name)
    try:
        printable = raw.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        printable = False
    if printable:
        return []
    return [finding("checkpoint.file-name", file.name, "Its name has characters that cannot be printed.")]
