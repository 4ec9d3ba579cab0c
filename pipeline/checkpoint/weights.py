"""All safetensors files of a checkpoint together: headers, the index that joins shards, and the tensors by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.safetensors_header import Header, TensorEntry, read_header
from pipeline.checkpoint.strict_json import parse_object
from pipeline.checkpoint.tree import File, Tree
from pipeline.errors import FileFormatError

_INDEX_LIMIT = 24 * 1024 * 1024  # bytes; about 100 a tensor
_INDEX_SUFFIX = ".safetensors.index.json"


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint.

    `tensors` are those that a loader reads: the files of the index, or all at the top level.  `size` is their bytes.
    """

    tensors: tuple[TensorEntry, ...]
    files: Mapping[str, Header]
    findings: tuple[Finding, ...]

    @property
    def size(self) -> int:
        """Bytes of all tensors together."""
        return sum(entry.end - entry.begin for entry in self.tensors)


def read_weights(tree: Tree) -> Weights:
    """Read every header and the index.  Raises StorageError when the disk fails."""
    headers = {file.name: read_header(file) for file in tree.named(".safetensors")}
    findings = [found for header in headers.values() for found in header.findings]
    if not headers:
        findings.append(finding("checkpoint.weights-missing", None, "There is no safetensors file."))
    unused: set[str] = set()
    for index in tree.named(_INDEX_SUFFIX):
        found = tuple(_check_index(index, headers))
        unused |= {item.file for item in found if item.id == "checkpoint.index-unused" and item.file}
        findings.extend(found)
    loaded = {name: header for name, header in headers.items() if "/" not in name and name not in unused}
    if headers and not loaded:
        findings.append(finding("checkpoint.weights-missing", None, "No safetensors file would be loaded."))
    findings.extend(_repeated(loaded))
    tensors = tuple(entry for header in loaded.values() for entry in header.tensors)
    return Weights(tensors, headers, tuple(findings))


def _check_index(index: File, headers: Mapping[str, Header]) -> Iterator[Finding]:
    """The index must name every tensor of the shards beside it, each in the shard that has it, and no other."""
    if index.size > _INDEX_LIMIT:
        yield finding("checkpoint.index", index.name, f"The index is larger than {_INDEX_LIMIT} bytes.")
        return
    try:
        document = parse_object(index.head(_INDEX_LIMIT + 1), "the index", size_limit=_INDEX_LIMIT)
    except FileFormatError as error:
        yield finding("checkpoint.index", index.name, f"The index is not acceptable JSON: {error.why}")
        return
    placed = document.get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(shard, str) for shard in placed.values()):
        yield finding("checkpoint.index", index.name, "The index has no weight_map from tensors to files.")
        return
    yield from _check_places(index, placed, headers)
    yield from _check_total(index, document.get("metadata"), placed, headers)


def _check_places(index: File, placed: Mapping[str, str], headers: Mapping[str, Header]) -> Iterator[Finding]:
    folder = PurePosixPath(index.name).parent
    shards = {shard: headers.get(str(folder / shard)) for shard in set(placed.values())}
    for shard in sorted(shard for shard, header in shards.items() if header is None):
        outside = shard.startswith("/") or ".." in PurePosixPath(shard).parts
        identifier = "checkpoint.external-path" if outside else "checkpoint.index-mismatch"
        yield finding(identifier, index.name, f"The index names {shard[:200]!r}, which is no file of the checkpoint.")
    present = {(entry.name, shard) for shard, header in shards.items() if header for entry in header.tensors}
    named = {(name, shard) for name, shard in placed.items() if shards[shard] is not None}
    if missing := sorted(named - present):
        name, shard = missing[0]
        yield finding(
            "checkpoint.index-mismatch",
            index.name,
            f"{len(missing)} tensors are not in the file that the index names; the first is {name[:120]!r} in {shard}.",
        )
    if extra := sorted(present - named):
        name, shard = extra[0]
        yield finding(
            "checkpoint.index-mismatch",
            index.name,
            f"{len(extra)} tensors are in a shard but not in the index; the first is {name[:120]!r} in {shard}.",
        )
    unused = [
        name for name in headers if PurePosixPath(name).parent == folder and PurePosixPath(name).name not in shards
    ]
    for name in unused:
        yield finding("checkpoint.index-unused", name, "The index does not name this file, so it would not be loaded.")


def _check_total(
    index: File, metadata: object, placed: Mapping[str, str], headers: Mapping[str, Header]
) -> Iterator[Finding]:
    claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
    folder = PurePosixPath(index.name).parent
    shards = [headers[str(folder / shard)] for shard in set(placed.values()) if str(folder / shard) in headers]
    size = sum(entry.end - entry.begin for header in shards for entry in header.tensors)
    if isinstance(claimed, int | float) and claimed != size:
        message = f"The index claims {claimed} bytes of tensors; the shards have {size}."
        yield finding("checkpoint.index-size", index.name, message)


def _repeated(headers: Mapping[str, Header]) -> Iterator[Finding]:
    """A tensor in two files: which one is loaded would depend on the loader."""
    counts = Counter(entry.name for header in headers.values() for entry in header.tensors)
    for name in sorted(name for name, count in counts.items() if count > 1)[:5]:
        files = sorted(file for file, header in headers.items() if any(e.name == name for e in header.tensors))
        message = f"Tensor {name[:120]!r} is in {len(files)} files: {', '.join(files[:4])}."
        yield finding("checkpoint.tensor-duplicate", files[0], message)
