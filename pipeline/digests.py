"""Digests and the canonical JSON that they are taken over.

A digest is written `sha256:` and 64 lower-case hexadecimal digits, everywhere: in files, on the command line, in cards.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

import rfc8785

from pipeline.errors import FileFormatError

Digest = NewType("Digest", str)
"""A SHA-256 digest in the form `sha256:<64 hex digits>`."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""Any JSON value."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> Digest:
    """The digest of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def parse_digest(text: str) -> Digest:
    """`text` as a digest.

    Raises:
        FileFormatError: it is not `sha256:` and 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.fullmatch(text):
        raise FileFormatError(
            f"'{text[:100]}' is not a digest",
            why="A digest is 'sha256:' followed by 64 lower-case hexadecimal digits.",
            remedy="Copy the whole digest from the card, the decision or the log.",
        )
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """The 64 hexadecimal digits, without the algorithm."""
    return digest.removeprefix("sha256:")


def canonical_json(value: object) -> bytes:
    """RFC 8785 JSON of `value`: the same value gives the same bytes on every machine.

    Raises:
        FileFormatError: the value has no canonical form (NaN, an infinity, an integer beyond 2^53, a non-JSON type).
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # the library checks the types itself
    except rfc8785.CanonicalizationError as error:
        raise FileFormatError(
            "a value has no canonical JSON form",
            why=f"{error}.",
            remedy="Record finite numbers, text, lists and mappings with text keys only.",
        ) from error


def digest_of(value: object) -> Digest:
    """The digest of the canonical JSON of `value`."""
    return sha256(canonical_json(value))
