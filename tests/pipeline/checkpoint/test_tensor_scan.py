"""The deep scan sees values that cannot be right, however the bytes are cut into chunks."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checkpoint import inspect_directory
from pipeline.checkpoint.safetensors_header import read_header
from pipeline.checkpoint.tensor_scan import FileScan
from pipeline.checkpoint.tree import File
from tests.assets.checkpoints import SafetensorsEntry, make_tiny_checkpoint, write_safetensors
from tests.pipeline.checkpoint.test_inspection import airlock

NAN = {
    "F64": struct.pack("<d", float("nan")),
    "F32": struct.pack("<f", float("inf")),
    "F16": struct.pack("<e", float("-inf")),
    "BF16": b"\x80\xff",
    "F8_E5M2": b"\xfc",
    "F8_E4M3": b"\x7f",
    "F8_E8M0": b"\xff",
}


def write(path: Path, *entries: SafetensorsEntry) -> File:
    write_safetensors(path, list(entries))
    return File(path.name, path, path.stat().st_size)


def entry(name: str, dtype: str, data: bytes, width: int) -> SafetensorsEntry:
    return SafetensorsEntry(name, dtype, (1, len(data) // width), data)


def deep(folder: Path, *entries: SafetensorsEntry) -> set[str]:
    directory = make_tiny_checkpoint(folder / "model")
    write_safetensors(directory / "model.safetensors", list(entries))
    usual = {found.id for found in inspect_directory(directory).findings}
    return {found.id for found in inspect_directory(directory, deep=True).findings} - usual


@pytest.mark.parametrize("dtype", sorted(NAN))
def test_values_that_are_not_finite_are_counted(tmp_path: Path, dtype: str) -> None:
    bad = NAN[dtype]
    file = write(tmp_path / "a.safetensors", entry("a", dtype, b"\0" * len(bad) * 9 + bad * 3, len(bad)))
    scan = FileScan(file.name, read_header(file))
    scan.update(file.path.read_bytes())
    assert [fact.not_finite for fact in scan.finish()] == [3]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40))
def test_the_cut_into_chunks_does_not_matter(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    folder = tmp_path_factory.mktemp("scan")
    first = struct.pack("<8f", 0, 0, 1, float("nan"), 2, 3, float("inf"), 4)
    file = write(
        folder / "a.safetensors", entry("a", "F32", first, 4), entry("e", "F32", b"", 4), entry("b", "U8", b"\0" * 7, 1)
    )
    scan = FileScan(file.name, read_header(file))
    data = file.path.read_bytes()
    for place in range(0, len(data), size):
        scan.update(data[place : place + size])
    facts = {fact.entry.name: fact for fact in scan.finish()}
    assert set(facts) == {"a", "b"}
    assert (facts["a"].not_finite, facts["a"].zero, facts["b"].zero) == (2, False, True)
    assert facts["a"].digest == hashlib.sha256(first).hexdigest()


def test_what_the_deep_scan_finds(tmp_path: Path) -> None:
    assert deep(tmp_path / "nan", entry("a", "BF16", b"\x80\x7f" * 4, 2)) == {"checkpoint.tensor-not-finite"}
    assert deep(tmp_path / "zero", entry("a", "BF16", b"\0" * 4096, 2)) == {"checkpoint.tensor-zero"}
    same = [entry(name, "BF16", b"\1\2" * 2048, 2) for name in "ab"]
    assert deep(tmp_path / "copy", *same) == {"checkpoint.tensor-copy"}
    small = [entry(name, "BF16", b"\0\0" * 10, 2) for name in "ab"]
    assert deep(tmp_path / "small", *small) == set()


def test_the_command_scans_deep(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    write_safetensors(directory / "model.safetensors", [entry("a", "BF16", b"\x80\x7f" * 4, 2)])
    assert "tensor-not-finite" in airlock("inspect", str(directory), "--deep", "--json")[1]
