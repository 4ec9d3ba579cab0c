"""The identity of a checkpoint: its files, each with size and SHA-256.

The digest of a checkpoint is the SHA-256 of the RFC 8785 JSON of its sorted entries; names and tags are labels on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline.digests import Digest, digest_of


@dataclass(frozen=True, order=True)
class FileEntry:
    """One file: `path` relative to the checkpoint with '/' between parts, `size` in bytes, and its digest."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True)
class Manifest:
    """All files of a checkpoint, sorted by path."""

    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files)))

    @cached_property
    def digest(self) -> Digest:
        """The checkpoint's identity."""
        return digest_of([{"path": f.path, "size": f.size, "sha256": f.digest[7:]} for f in self.files])

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(file.size for file in self.files)
