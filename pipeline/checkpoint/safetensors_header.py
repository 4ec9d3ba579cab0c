"""The header of a safetensors file, read without the weights and checked against the file's length.

Layout (https://github.com/huggingface/safetensors#format): 8 bytes with the header's length N, little endian; N bytes
of JSON that start with '{' and may end in spaces; then the data.  The JSON maps a tensor's name to `dtype`, `shape` and
`data_offsets` [begin, end) within the data; `__metadata__` maps text to text.  The data must be covered without gaps
or overlaps, so that nothing can hide in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.strict_json import parse_object
from pipeline.errors import FileFormatError

HEADER_LIMIT = 16 * 1024 * 1024  # bytes; a header has about 120 a tensor
_LARGEST_INTEGER = 2**53  # above it JSON readers disagree
_MOST_PROBLEMS = 20  # findings a file; one is enough to deny

BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "U16": 16,
        "I16": 16,
        "F16": 16,
        "BF16": 16,
        "U32": 32,
        "I32": 32,
        "F32": 32,
        "U64": 64,
        "I64": 64,
        "F64": 64,
        "C64": 64,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
    }
)
"""Bits of one value of each type that the format knows."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: where it lies in the data of its file, in bytes, and what it is."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a header says, as far as it could be read, and what is wrong with it."""

    tensors: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]
    data_start: int
    findings: tuple[Finding, ...]


class HeaderSource(Protocol):
    """Where a header is read from: a file of a tree, or the front of one that streams by."""

    @property
    def name(self) -> str:
        """The file's path below the checkpoint."""

    @property
    def size(self) -> int:
        """The length of the whole file in bytes."""

    def part(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""


@dataclass
class _Reading:
    """A header while it is read: problems are collected, and reading goes on while that makes sense."""

    file: HeaderSource
    findings: list[Finding] = field(default_factory=list)

    def problem(self, identifier: str, message: str) -> None:
        if len(self.findings) < _MOST_PROBLEMS:
            self.findings.append(finding(identifier, self.file.name, message))


def read_header(file: HeaderSource) -> Header:
    """Read and check the header of `file`; every problem is a finding.  Raises StorageError when the disk fails."""
    reading = _Reading(file)
    length = _header_length(reading)
    if length is None:
        return Header((), {}, 0, tuple(reading.findings))
    raw = file.part(8, length)
    if not raw.startswith(b"{"):
        reading.problem("checkpoint.header-json", "The header does not start with '{'.")
    try:
        document = parse_object(raw.rstrip(b" "), "the header", size_limit=HEADER_LIMIT)
    except FileFormatError as error:
        reading.problem("checkpoint.header-json", f"The header is not acceptable JSON: {error.why}")
        return Header((), {}, 8 + length, tuple(reading.findings))
    metadata = _metadata(reading, document.pop("__metadata__", None))
    tensors = tuple(_entries(reading, document))
    if len(tensors) == len(document):
        _check_layout(reading, tensors, file.size - 8 - length)
    return Header(tensors, metadata, 8 + length, tuple(reading.findings))


def _header_length(reading: _Reading) -> int | None:
    size = reading.file.size
    prefix = reading.file.part(0, 8)
    if len(prefix) < 8:
        reading.problem("checkpoint.header-size", f"The file has {size} bytes, fewer than a header's length takes.")
        return None
    length = int.from_bytes(prefix, "little")
    if length > HEADER_LIMIT:
        reading.problem(
            "checkpoint.header-size", f"The header claims {length} bytes; the most allowed is {HEADER_LIMIT}."
        )
        return None
    if length < 2 or 8 + length > size:
        reading.problem("checkpoint.header-size", f"The header claims {length} bytes in a file of {size}.")
        return None
    return length


def _metadata(reading: _Reading, value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        reading.problem("checkpoint.header-entry", "__metadata__ must map text to text.")
        return {}
    return value


def _entries(reading: _Reading, document: Mapping[str, Any]) -> Iterator[TensorEntry]:
    for name, value in document.items():
        entry = _entry(reading, name, value)
        if entry is not None:
            yield entry


def _entry(reading: _Reading, name: str, value: object) -> TensorEntry | None:
    shown = repr(name[:120])
    if not name or len(name) > 1000 or not name.isprintable():
        reading.problem("checkpoint.tensor-name", f"Tensor {shown} has no printable name.")
        return None
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        reading.problem("checkpoint.header-entry", f"Tensor {shown} needs dtype, shape, data_offsets and nothing else.")
        return None
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        reading.problem("checkpoint.tensor-dtype", f"Tensor {shown} has the unknown type {str(dtype)[:40]!r}.")
        return None
    if not _whole_numbers(shape) or len(shape) > 16 or math.prod(shape) > _LARGEST_INTEGER:
        reading.problem("checkpoint.tensor-shape", f"Tensor {shown} has no usable shape.")
        return None
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        reading.problem("checkpoint.tensor-range", f"Tensor {shown} has no usable data_offsets.")
        return None
    entry = TensorEntry(name, dtype, tuple(shape), offsets[0], offsets[1])
    if entry.count * BITS[dtype] != (entry.end - entry.begin) * 8:
        wanted = f"{entry.count} values of {BITS[dtype]} bits"
        reading.problem(
            "checkpoint.tensor-length", f"Tensor {shown} needs {wanted} and has {entry.end - entry.begin} bytes."
        )
    return entry


def _whole_numbers(value: object) -> bool:
    """Whether `value` is a list of non-negative integers (true and false are none)."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _LARGEST_INTEGER for item in value)


def _check_layout(reading: _Reading, tensors: tuple[TensorEntry, ...], size: int) -> None:
    """The tensors must cover the `size` bytes of data exactly once."""
    place = 0
    for entry in sorted(tensors, key=lambda item: (item.begin, item.end)):
        shown = repr(entry.name[:120])
        if entry.end > size:
            reading.problem("checkpoint.tensor-range", f"Tensor {shown} ends at {entry.end} of {size} bytes of data.")
        if entry.begin < place:
            reading.problem("checkpoint.tensor-overlap", f"Tensor {shown} starts inside the tensor before it.")
        elif entry.begin > place:
            reading.problem(
                "checkpoint.tensor-gap", f"{entry.begin - place} bytes before tensor {shown} belong to no tensor."
            )
        place = max(place, entry.end)
    if place < size:
        reading.problem("checkpoint.trailing-data", f"{size - place} bytes at the end belong to no tensor.")
