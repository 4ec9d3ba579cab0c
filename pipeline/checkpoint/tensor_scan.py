"""The deep scan: what the values of the tensors are, seen while the bytes stream by once.

It takes the chunks of a file in order, whoever reads them: the pass that verifies (`DeepScan`), or `scan_file`.  Memory
is one chunk and, in a pass, the header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.safetensors_header import HEADER_LIMIT, Header, TensorEntry, read_header
from pipeline.checkpoint.tree import File

_CHUNK = 8 * 1024 * 1024  # bytes
_SMALL = 1024  # values; a bias that is all zero, or like another, says nothing
_MOST_NAMED = 5  # findings of a kind

# For each floating type: the unsigned integer of its width, and the bits that are all set in Inf and NaN alone.
_NOT_FINITE: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "F64": ("<u8", 0x7FF0000000000000),
        "F32": ("<u4", 0x7F800000),
        "F16": ("<u2", 0x7C00),
        "BF16": ("<u2", 0x7F80),
        "F8_E5M2": ("u1", 0x7C),
        "F8_E4M3": ("u1", 0x7F),  # this type has no Inf
        "F8_E8M0": ("u1", 0xFF),
    }
)


@dataclass(frozen=True)
class TensorFacts:
    """What one tensor holds: how many values are NaN or Inf, whether all its bytes are zero, and their digest."""

    file: str
    entry: TensorEntry
    not_finite: int
    zero: bool
    digest: str


@dataclass
class _Tensor:
    """A tensor while it streams by.  `rest` are the first bytes of a value that the next chunk completes."""

    entry: TensorEntry
    digest: Any = field(default_factory=hashlib.sha256)
    not_finite: int = 0
    zero: bool = True
    rest: bytes = b""

    def update(self, data: memoryview) -> None:
        import numpy

        self.digest.update(data)
        self.zero = self.zero and not numpy.frombuffer(data, numpy.uint8).any()
        if self.entry.dtype not in _NOT_FINITE:
            return
        kind, mask = _NOT_FINITE[self.entry.dtype]
        width = numpy.dtype(kind).itemsize
        whole = self.rest + bytes(data) if self.rest else data
        usable = len(whole) - len(whole) % width
        values = numpy.frombuffer(whole[:usable], kind)
        self.not_finite += int(numpy.count_nonzero((values & mask) == mask))
        self.rest = bytes(whole[usable:])


class FileScan:
    """The deep scan of one safetensors file with a sound header.  Give it the file's bytes in order, then `finish`."""

    def __init__(self, name: str, header: Header) -> None:
        self._name = name
        self._start = header.data_start
        self._pending = sorted(header.tensors, key=lambda entry: (entry.begin, entry.end), reverse=True)
        self._current: _Tensor | None = None
        self._place = 0
        self._facts: list[TensorFacts] = []

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes of the file."""
        view = memoryview(chunk)
        while view:
            taken = self._take(view)
            self._place += taken
            view = view[taken:]

    def finish(self) -> tuple[TensorFacts, ...]:
        """The facts of all tensors that were seen whole."""
        self._next()
        return tuple(self._facts)

    def _take(self, view: memoryview) -> int:
        """Use the front of `view`, up to the end of the header or of the tensor that is streaming by."""
        if self._place < self._start:
            return min(len(view), self._start - self._place)
        offset = self._place - self._start
        if self._current is None or offset >= self._current.entry.end:
            self._next()
            if self._current is None:
                return len(view)
        taken = min(len(view), self._current.entry.end - offset)
        self._current.update(view[:taken])
        return taken

    def _next(self) -> None:
        """Close the tensor that has streamed by, and open the one after it; empty ones have nothing to say."""
        done = self._current
        if done is not None:
            digest = done.digest.hexdigest()
            self._facts.append(TensorFacts(self._name, done.entry, done.not_finite, done.zero, digest))
        while self._pending and self._pending[-1].begin == self._pending[-1].end:
            self._pending.pop()
        self._current = _Tensor(self._pending.pop()) if self._pending else None


@dataclass
class _Front:
    """The first bytes of a file that streams by: all of its header, as soon as that is there."""

    name: str
    size: int
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_whole(self) -> bool:
        if len(self.data) < 8:
            return False
        return len(self.data) >= min(8 + min(int.from_bytes(self.data[:8], "little"), HEADER_LIMIT), self.size)

    def part(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])


class StreamScan:
    """The deep scan of a file whose header comes with the stream.  A header that is not sound ends it: see `finish`."""

    def __init__(self, name: str, size: int) -> None:
        self._front: _Front | None = _Front(name, size)
        self._scan: FileScan | None = None

    def update(self, chunk: memoryview) -> None:
        """Take the next bytes of the file; they are not kept."""
        if self._scan is not None:
            self._scan.update(chunk)
        elif self._front is not None:
            self._front.data += chunk
            if self._front.is_whole:
                self._open(self._front)

    def finish(self) -> tuple[TensorFacts, ...]:
        """The facts of all tensors that were seen whole; none of a file whose header is not sound."""
        return () if self._scan is None else self._scan.finish()

    def _open(self, front: _Front) -> None:
        self._front = None
        header = read_header(front)
        if not header.findings:
            self._scan = FileScan(front.name, header)
            self._scan.update(bytes(front.data))


class DeepScan:
    """The deep scan of a checkpoint within the pass that verifies it: its `watch` follows every safetensors file."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamScan] = {}

    def watch(self, path: str, size: int) -> StreamScan | None:
        """Who follows the file at `path`; None for files without tensors.  Asked by several threads at a time."""
        if not path.lower().endswith(".safetensors"):
            return None
        return self._streams.setdefault(path, StreamScan(path, size))

    def finish(self) -> tuple[TensorFacts, ...]:
        """The facts of all tensors, once the pass is over."""
        return tuple(fact for _, stream in sorted(self._streams.items()) for fact in stream.finish())


def scan_file(file: File, header: Header) -> tuple[TensorFacts, ...]:
    """Read `file` once and scan it.  Raises StorageError when the disk fails."""
    scan = FileScan(file.name, header)
    for offset in range(0, file.size, _CHUNK):
        scan.update(file.part(offset, _CHUNK))
    return scan.finish()


def judge_tensors(facts: tuple[TensorFacts, ...]) -> Iterator[Finding]:
    """Findings on tensors that cannot be right, or that are suspicious."""
    broken = [fact for fact in facts if fact.not_finite]
    for fact in broken[:_MOST_NAMED]:
        message = f"Tensor {fact.entry.name[:120]!r} has {fact.not_finite:,} values that are NaN or infinite."
        yield finding("checkpoint.tensor-not-finite", fact.file, message)
    large = [fact for fact in facts if fact.entry.count >= _SMALL and len(fact.entry.shape) > 1]
    for fact in [fact for fact in large if fact.zero][:_MOST_NAMED]:
        yield finding("checkpoint.tensor-zero", fact.file, f"Tensor {fact.entry.name[:120]!r} is zero throughout.")
    first: dict[tuple[str, tuple[int, ...]], TensorFacts] = {}
    copies: list[tuple[TensorFacts, TensorFacts]] = []
    for fact in large:
        other = first.setdefault((fact.digest, fact.entry.shape), fact)
        if other is not fact and not fact.zero:
            copies.append((other, fact))
    for other, fact in copies[:_MOST_NAMED]:
        message = f"Tensor {fact.entry.name[:120]!r} is a copy of {other.entry.name[:120]!r}."
        yield finding("checkpoint.tensor-copy", fact.file, message)
