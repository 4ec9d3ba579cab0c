"""Content-addressed bytes on disk: named by their digest, written once, read-only, re-hashed on every read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.digests import Digest, hex_of, parse_digest, sha256
from pipeline.errors import EvidenceError, RequestError
from pipeline.files import read_bounded, write_atomic

_BLOB_LIMIT = 2 * 1024**3  # bytes; a million samples are some hundred MB


@dataclass(frozen=True)
class Blobs:
    """The blobs under `root`, as `root/AB/ABCD...` by the hexadecimal digits of their SHA-256."""

    root: Path

    def put(self, data: bytes) -> Digest:
        """Store `data`; storing it again changes nothing.

        Raises:
            EvidenceError: a file of that name is there already but holds something else.
            StorageError: the disk is full, read-only or failing; nothing is half-written.
        """
        digest = sha256(data)
        path = self._path(digest)
        if os.path.lexists(path):
            self.get(digest)
        else:
            write_atomic(path, data, mode=0o444)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes whose digest is `digest`.

        Raises:
            EvidenceError: there are none, or the file was edited.
            StorageError: the disk failed.
        """
        path = self._path(parse_digest(digest))
        try:
            data = read_bounded(path, limit=_BLOB_LIMIT)
        except RequestError as error:
            raise EvidenceError(
                f"evidence {digest} is missing",
                why=f"{path}: {error.why}",
                remedy="Restore it from a backup or the registry, or run the pipeline again to measure anew.",
            ) from error
        if sha256(data) != digest:
            raise EvidenceError(
                f"evidence {digest} was edited",
                why=f"The bytes in {path} have the digest {sha256(data)}.",
                remedy="Find out who changed it, then restore the file from a backup; it is never silently replaced.",
            )
        return data

    def _path(self, digest: Digest) -> Path:
        digits = hex_of(digest)
        return self.root / digits[:2] / digits
