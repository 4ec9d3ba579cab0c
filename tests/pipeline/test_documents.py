"""Malformed files: one error that names the file and the place, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import Document, load_toml, load_yaml, parse_yaml, validate
from pipeline.errors import AirlockError, FileFormatError


class Example(Document):
    name: str
    count: int = 0


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text("name: a\ncount: 3\n")
    assert load_yaml(Example, path) == Example(name="a", count=3)


def test_a_valid_toml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text('name = "a"\n')
    assert load_toml(Example, path) == Example(name="a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: [", "not valid YAML"),
        ("name: a\nname: b\n", "'name' appears twice"),
        ("name: &x a\nother: *x\n", "aliases are not allowed"),
        ("1: a\n", "is not text"),
        ("- a\n", "no mapping"),
        ("", "no mapping"),
        ("name: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("name: a\nnmae: b\n", "'nmae' is not a known key"),
        ("count: 3\n", "'name' is missing"),
        ("name: a\ncount: many\n", "'count'"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=reason) as caught:
        load_yaml(Example, path)
    assert str(path) in caught.value.what
    assert caught.value.remedy


def test_malformed_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text("name = \n")
    with pytest.raises(FileFormatError, match="line 1"):
        load_toml(Example, path)


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(FileFormatError) as caught:
        validate(Example, {"count": "many", "extra": 1}, Path("x.yaml"))
    assert all(word in caught.value.why for word in ("'name' is missing", "'count'", "'extra'"))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_own_errors(data: bytes) -> None:
    try:
        result = parse_yaml(data, Path("fuzzed.yaml"))
    except AirlockError:
        return
    assert isinstance(result, dict)


@given(st.text(alphabet="abc:{}[]-&*!|>\n #'\"%@`", max_size=80))
def test_no_text_that_looks_like_yaml_raises_anything_but_our_own_errors(text: str) -> None:
    try:
        result = parse_yaml(text.encode(), Path("fuzzed.yaml"))
    except AirlockError:
        return
    assert isinstance(result, dict)


def test_deeply_nested_yaml_is_refused_without_a_crash() -> None:
    with pytest.raises(FileFormatError):
        parse_yaml(b"a: " + b"[" * 100_000, Path("deep.yaml"))
