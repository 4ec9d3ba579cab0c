"""Weights that are not what they say: broken headers, hidden bytes, indexes that lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.assets.checkpoints import (
    SafetensorsEntry,
    make_tiny_checkpoint,
    read_json,
    write_json,
    write_raw_safetensors,
    write_safetensors,
)
from tests.assets.hostile_files import Attack

_INDEX = "model.safetensors.index.json"
_FIRST = "model-00001-of-00002.safetensors"


def _header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], object]:
    """Change the header of model.safetensors as a value; the data stay."""

    def spoil(directory: Path) -> None:
        path = directory / "model.safetensors"
        header, data = split(path.read_bytes())
        document = json.loads(header)
        change(document)
        write_raw_safetensors(path, json.dumps(document).encode(), data)

    return spoil


def split(raw: bytes) -> tuple[bytes, bytes]:
    """The header and the data of a safetensors file."""
    length = struct.unpack("<Q", raw[:8])[0]
    return raw[8 : 8 + length], raw[8 + length :]


def _raw(change: Callable[[bytes, bytes], tuple[bytes, bytes]], length: int | None = None) -> Callable[[Path], object]:
    """Change header and data of model.safetensors as bytes; `length` overrides the length that is written."""

    def spoil(directory: Path) -> None:
        path = directory / "model.safetensors"
        header, data = change(*split(path.read_bytes()))
        write_raw_safetensors(path, header, data, length=length)

    return spoil


def _whole(data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / "model.safetensors").write_bytes(data)


def _tensor(**changes: Any) -> Callable[[Path], object]:
    return _header(lambda document: document["model.norm.weight"].update(changes))


def _overlap(document: dict[str, Any]) -> None:
    first, second = [entry for name, entry in document.items() if name != "__metadata__"][:2]
    size = second["data_offsets"][1] - second["data_offsets"][0]
    second["data_offsets"] = [first["data_offsets"][0], first["data_offsets"][0] + size]


def _remove_one(document: dict[str, Any]) -> None:
    del document["model.layers.0.input_layernorm.weight"]


def _rename(new: str) -> Callable[[Path], object]:
    def change(document: dict[str, Any]) -> None:
        document[new] = document.pop("model.norm.weight")

    return _header(change)


def _twice(header: bytes, data: bytes) -> tuple[bytes, bytes]:
    entry = json.dumps(json.loads(header)["model.norm.weight"]).encode()
    return header.rstrip(b" ").removesuffix(b"}") + b', "model.norm.weight": ' + entry + b"}", data


def _sharded(spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    """Spoil a checkpoint of two shards instead of one file."""

    def sharded(directory: Path) -> None:
        (directory / "model.safetensors").unlink()
        make_tiny_checkpoint(directory, shards=2, chat_template=None)
        spoil(directory)

    return sharded


def _index(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(directory: Path) -> None:
        document = read_json(directory / _INDEX)
        change(document)
        write_json(directory / _INDEX, document)

    return _sharded(spoil)


def _map(**changes: str) -> Callable[[Path], object]:
    return _index(lambda document: document["weight_map"].update(changes))


def _extra_file(directory: Path) -> None:
    write_safetensors(directory / "more.safetensors", [SafetensorsEntry("model.norm.weight", "U8", (1,), b"\0")])


_WEIGHTS: Mapping[str, Attack] = {
    "no-weights": ("checkpoint.weights-missing", lambda directory: (directory / "model.safetensors").unlink()),
    "empty-weights": ("checkpoint.header-size", _whole(b"")),
    "weights-of-seven-bytes": ("checkpoint.header-size", _whole(b"\x08\0\0\0\0\0\0")),
    "header-of-nothing": ("checkpoint.header-size", _whole(b"\0" * 8)),
    "header-beyond-the-file": ("checkpoint.header-size", _raw(lambda h, d: (h, d), length=10_000_000)),
    "header-of-2-to-63": ("checkpoint.header-size", _raw(lambda h, d: (h, d), length=2**63)),
    "header-of-17-mebibytes": (
        "checkpoint.header-size",
        _raw(lambda h, d: (h + b" " * (17 * 1024 * 1024), d)),
    ),
    "header-of-empty-lists": (
        "checkpoint.header-json",
        _raw(lambda _, d: (b'{"a":[' + b"[]," * 4_000_000 + b"[]]}", d)),
    ),
    "header-of-numbers": ("checkpoint.header-json", _raw(lambda _, d: (b'{"a":[' + b"1," * 6_000_000 + b"1]}", d))),
    "header-no-json": ("checkpoint.header-json", _raw(lambda h, d: (b"{" + h, d))),
    "header-a-list": ("checkpoint.header-json", _raw(lambda h, d: (b"[" + h + b"]", d))),
    "header-after-spaces": ("checkpoint.header-json", _raw(lambda h, d: (b"  " + h, d))),
    "header-no-utf8": ("checkpoint.header-json", _raw(lambda h, d: (h.replace(b"model.norm", b"model.\xff\xfe"), d))),
    "header-nested-deep": (
        "checkpoint.header-json",
        _raw(lambda _, d: (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", d)),
    ),
    "header-nested-to-70": ("checkpoint.header-json", _raw(lambda _, d: (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", d))),
    "header-names-a-tensor-twice": ("checkpoint.header-json", _raw(_twice)),
    "header-with-nan": ("checkpoint.header-json", _raw(lambda h, d: (h.replace(b"[64]", b"[NaN]", 1), d))),
    "header-with-huge-number": ("checkpoint.header-json", _raw(lambda h, d: (h.replace(b"[64]", b"[1e999]", 1), d))),
    "header-with-endless-number": (
        "checkpoint.header-json",
        _raw(lambda h, d: (h.replace(b"[64]", b"[" + b"9" * 100_000 + b"]", 1), d)),
    ),
    "header-with-lone-surrogate": (
        "checkpoint.header-json",
        _raw(lambda h, d: (h.replace(b"model.norm", b"model.\\ud800"), d)),
    ),
    "metadata-not-text": (
        "checkpoint.header-entry",
        _header(lambda document: document.update({"__metadata__": {"format": {"a": 1}}})),
    ),
    "metadata-a-list": ("checkpoint.header-entry", _header(lambda document: document.update({"__metadata__": []}))),
    "tensor-with-unknown-key": ("checkpoint.header-entry", _tensor(code="x")),
    "tensor-a-number": ("checkpoint.header-entry", _header(lambda document: document.update(extra=1))),
    "tensor-without-name": ("checkpoint.tensor-name", _rename("")),
    "tensor-name-with-control": ("checkpoint.tensor-name", _rename("model.\x1b[2J.weight")),
    "tensor-name-endless": ("checkpoint.tensor-name", _rename("a" * 5000)),
    "dtype-unknown": ("checkpoint.tensor-dtype", _tensor(dtype="OBJECT")),
    "dtype-a-number": ("checkpoint.tensor-dtype", _tensor(dtype=7)),
    "dtype-too-wide": ("checkpoint.tensor-length", _tensor(dtype="F64")),
    "shape-negative": ("checkpoint.tensor-shape", _tensor(shape=[-64])),
    "shape-overflowing": ("checkpoint.tensor-shape", _tensor(shape=[2**32, 2**32])),
    "shape-of-truth": ("checkpoint.tensor-shape", _tensor(shape=[True, 64])),
    "shape-of-text": ("checkpoint.tensor-shape", _tensor(shape=["64"])),
    "shape-a-float": ("checkpoint.tensor-shape", _tensor(shape=[64.0])),
    "shape-of-100-dimensions": ("checkpoint.tensor-shape", _tensor(shape=[1] * 99 + [64])),
    "shape-too-large": ("checkpoint.tensor-length", _tensor(shape=[65])),
    "offsets-backwards": ("checkpoint.tensor-range", _tensor(data_offsets=[128, 0])),
    "offsets-negative": ("checkpoint.tensor-range", _tensor(data_offsets=[-128, 0])),
    "offsets-of-three": ("checkpoint.tensor-range", _tensor(data_offsets=[0, 64, 128])),
    "offsets-beyond-the-file": ("checkpoint.tensor-range", _tensor(data_offsets=[10**9, 10**9 + 128])),
    "tensors-overlap": ("checkpoint.tensor-overlap", _header(_overlap)),
    "bytes-between-tensors": ("checkpoint.tensor-gap", _header(_remove_one)),
    "bytes-after-tensors": ("checkpoint.trailing-data", _raw(lambda h, d: (h, d + b"hidden"))),
    "weights-cut-off": ("checkpoint.tensor-range", _raw(lambda h, d: (h, d[:-1]))),
    "tensor-in-two-files": ("checkpoint.tensor-duplicate", _extra_file),
    "index-no-json": ("checkpoint.index", _sharded(lambda directory: (directory / _INDEX).write_text("{"))),
    "index-a-list": ("checkpoint.index", _sharded(lambda directory: (directory / _INDEX).write_text("[]"))),
    "index-without-map": ("checkpoint.index", _index(lambda document: document.pop("weight_map"))),
    "index-map-of-numbers": ("checkpoint.index", _index(lambda document: document["weight_map"].update(a=1))),
    "index-names-absent-shard": ("checkpoint.index-mismatch", _map(**{"model.norm.weight": "model-3.safetensors"})),
    "index-names-absent-tensor": ("checkpoint.index-mismatch", _map(**{"model.extra.weight": _FIRST})),
    "index-misses-a-tensor": (
        "checkpoint.index-mismatch",
        _index(lambda document: document["weight_map"].pop("model.norm.weight")),
    ),
    "index-escapes": ("checkpoint.external-path", _map(**{"model.norm.weight": "../../secret.safetensors"})),
    "index-names-absolute-path": ("checkpoint.external-path", _map(**{"model.norm.weight": "/etc/passwd"})),
    "index-of-nothing": ("checkpoint.weights-missing", _index(lambda document: document["weight_map"].clear())),
    "shard-missing": (
        "checkpoint.index-mismatch",
        _sharded(lambda directory: (directory / _FIRST).unlink()),
    ),
}

HOSTILE_WEIGHTS: Mapping[str, Attack] = MappingProxyType(_WEIGHTS)
