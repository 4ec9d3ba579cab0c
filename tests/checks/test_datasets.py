"""Built-in data: what is pinned is what is used, and bad bytes end in one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.datasets import load_builtin, parse_json_lines, read_pinned
from pipeline.digests import sha256
from pipeline.errors import EvidenceError, FileFormatError, RequestError


def _write(root: Path, data: bytes) -> str:
    path = root / "suite" / "set.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return sha256(data)


def test_pinned_set_loads_in_file_order(tmp_path: Path) -> None:
    pin = _write(tmp_path, b'{"id": "b", "text": "\xc3\xa9"}\n{"id": "a", "text": "x"}\n')
    data, rows = load_builtin("suite/set", pin, root=tmp_path)
    assert [row["id"] for row in rows] == ["b", "a"]
    assert rows[0]["text"] == "é"
    assert (data.name, data.items, data.digest) == ("suite/set", 2, pin)


def test_edited_data_is_refused(tmp_path: Path) -> None:
    pin = _write(tmp_path, b'{"id": "a", "answer": 1}\n')
    _write(tmp_path, b'{"id": "a", "answer": 2}\n')
    with pytest.raises(EvidenceError, match="not the data that was pinned"):
        load_builtin("suite/set", pin, root=tmp_path)


def test_linked_data_is_refused(tmp_path: Path) -> None:
    pin = _write(tmp_path, b'{"id": "a"}\n')
    (tmp_path / "suite" / "link.jsonl").symlink_to(tmp_path / "suite" / "set.jsonl")
    with pytest.raises(RequestError, match="symbolic link"):
        load_builtin("suite/link", pin, root=tmp_path)


def test_missing_file_and_bad_pin_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file"):
        load_builtin("suite/none", sha256(b""), root=tmp_path)
    with pytest.raises(FileFormatError, match="not a digest"):
        read_pinned(tmp_path / "x", "0" * 64)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "holds no row"),
        (b"\n", "no valid JSON|holds no row|not valid JSON"),
        (b'{"id": "a"}\n\n{"id": "b"}\n', "Row 2 is not valid JSON"),
        (b'{"id": "a"}\n{"id": "a"}\n', "Row 2 repeats the id"),
        (b'{"id": " "}\n', "Row 1 has no 'id'"),
        (b'{"id": 7}\n', "Row 1 has no 'id'"),
        (b'{"text": "x"}\n', "Row 1 has no 'id'"),
        (b"[1]\n", "Row 1 is no JSON object"),
        (b'{"id": "a", "id": "b"}\n', "a key appears twice"),
        (b'{"id": "a", "x": NaN}\n', "NaN is no JSON number"),
        (b'{"id": "a\xff"}\n', "Byte 9 is no UTF-8"),
        (b'{"id": ' + b"[" * 100_000 + b"\n", "Row 1 is not valid JSON"),
        (b'{"id": "' + b"a" * (1024 * 1024) + b'"}', "Row 1 is longer"),
    ],
)
def test_bad_rows_are_named(data: bytes, problem: str) -> None:
    with pytest.raises(FileFormatError, match=problem):
        parse_json_lines(data, Path("set.jsonl"))


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    pin = _write(tmp_path, b'{"id": "a"}\n')
    with pytest.raises(RequestError, match="larger than 5 bytes"):
        read_pinned(tmp_path / "suite" / "set.jsonl", pin, limit=5)


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, unique=True))
def test_any_text_survives(texts: list[str]) -> None:
    data = "".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts).encode()
    assert [row["text"] for row in parse_json_lines(data, Path("x"))] == texts


@given(st.binary())
def test_any_bytes_are_rows_or_one_error(data: bytes) -> None:
    try:
        rows = parse_json_lines(data, Path("x"))
    except FileFormatError:
        return
    assert rows and all(row["id"] for row in rows)
