"""No bytes make a parser do anything but answer: every problem is a finding, and nothing else is raised."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.checkpoint.card import read_card
from pipeline.checkpoint.configuration import read_configuration
from pipeline.checkpoint.formats import inspect_format, is_pickle
from pipeline.checkpoint.inspection import inspect_directory
from pipeline.checkpoint.parameters import count_parameters
from pipeline.checkpoint.safetensors_header import read_header
from pipeline.checkpoint.strict_json import parse_json
from pipeline.checkpoint.tokenizer import inspect_tokenizer, read_tokenizer
from pipeline.checkpoint.tree import File, list_tree
from pipeline.checkpoint.weights import read_weights
from pipeline.errors import FileFormatError
from tests.assets.checkpoints import make_tiny_checkpoint

fuzz = settings(max_examples=300, deadline=None)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F4", "I64", "BOOL", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 5), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 80), min_size=2, max_size=2) | JSON,
    }
)
HEADER = st.dictionaries(st.text(max_size=10) | st.just("__metadata__"), TENSOR | JSON, max_size=5)
NAMES = (
    "vocab_size",
    "num_hidden_layers",
    "text_config",
    "quantization_config",
    "architectures",
    "rope_scaling",
    "eos_token_id",
)
SETTINGS = st.dictionaries(
    st.sampled_from((*NAMES, "layer_types", "auto_map", "hidden_size", "num_experts")), JSON, max_size=8
)


def file_of(folder: str, name: str, data: bytes) -> File:
    path = Path(folder) / name
    path.write_bytes(data)
    return File(name, path, len(data))


@fuzz
@given(st.binary(max_size=200))
@example(b"\xff" * 8)
@example(b"\x02" + b"\0" * 7 + b"{}")
def test_any_bytes_as_weights(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        header = read_header(file_of(folder, "model.safetensors", data))
    assert header.findings or header.tensors == ()


@fuzz
@given(HEADER, st.integers(0, 100))
def test_any_header(document: dict[str, Any], size: int) -> None:
    raw = json.dumps(document).encode()
    with tempfile.TemporaryDirectory() as folder:
        file = file_of(folder, "model.safetensors", len(raw).to_bytes(8, "little") + raw + b"\0" * size)
        header = read_header(file)
        weights = read_weights(list_tree(Path(folder)))
    covered = sum(entry.end - entry.begin for entry in header.tensors)
    assert header.findings or covered == size
    assert weights.files["model.safetensors"] == header


@fuzz
@given(st.integers(0, 2000), st.integers(0, 7))
def test_any_flipped_bit_of_a_header(place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_weights(Path(folder))
        data = bytearray(path.read_bytes())
        data[place % len(data)] ^= 1 << bit
        path.write_bytes(data)
        assert read_weights(list_tree(Path(folder))).findings is not None


def make_weights(folder: Path) -> Path:
    from tests.assets.checkpoints import SafetensorsEntry, write_safetensors

    path = folder / "model.safetensors"
    write_safetensors(path, [SafetensorsEntry(f"layer.{n}", "U8", (2, 3), bytes(6)) for n in range(8)])
    return path


@fuzz
@given(JSON)
def test_any_index(document: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_weights(Path(folder))
        (Path(folder) / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": document, "metadata": document})
        )
        weights = read_weights(list_tree(Path(folder)))
    assert {found.file for found in weights.findings} >= {"model.safetensors.index.json"} or document == {}


@fuzz
@given(SETTINGS | JSON)
def test_any_configuration(document: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_weights(Path(folder))
        (Path(folder) / "config.json").write_text(json.dumps(document))
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(document))
        tree = list_tree(Path(folder))
        configuration = read_configuration(tree)
        parameters = count_parameters(read_header(File("m", path, path.stat().st_size)).tensors, configuration)
    assert parameters.total == 48


@fuzz
@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_tokenizer(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file_of(folder, "tokenizer.json", data)
        tree = list_tree(Path(folder))
        found = list(inspect_tokenizer(read_tokenizer(tree), read_configuration(tree), 10))
    assert all(each.id.startswith("checkpoint.") for each in found)


@fuzz
@given(JSON, JSON)
def test_any_vocabulary(vocabulary: Any, added: Any) -> None:
    document = {"model": {"vocab": vocabulary}, "added_tokens": added}
    with tempfile.TemporaryDirectory() as folder:
        file_of(folder, "tokenizer.json", json.dumps(document).encode())
        tokenizer = read_tokenizer(list_tree(Path(folder)))
    assert tokenizer.present


@fuzz
@given(st.text(max_size=200))
def test_any_front_matter(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file_of(folder, "README.md", f"---\n{text}\n---\n".encode("utf-8", "replace"))
        card = read_card(list_tree(Path(folder)))
    assert isinstance(card.provenance, dict)


@fuzz
@given(
    st.binary(max_size=300), st.sampled_from(["a.txt", "a.json", "a.model", "a.png", "a", "LICENSE", "a.safetensors"])
)
def test_any_file(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = list(inspect_format(file_of(folder, name, data)))
    assert len(found) <= 2


@fuzz
@given(st.text(max_size=300))
@example("be.")
@example("do. Then\n")
@example("cat\ndog\nemu\n")
@example("Permission is hereby granted\n.")
def test_text_is_hardly_ever_a_pickle(text: str) -> None:
    assert not is_pickle(text.encode())


@fuzz
@given(JSON)
def test_strict_json_reads_what_json_writes(value: Any) -> None:
    text = json.dumps(value).encode()
    try:
        assert json.dumps(parse_json(text, "it")).encode() == text
    except FileFormatError as error:
        assert any(word in error.why for word in ("number", "NaN", "Infinity", "UTF-8", "digits"))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_damage_to_a_whole_checkpoint(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = make_tiny_checkpoint(Path(folder) / "model")
        path = data.draw(st.sampled_from(sorted(directory.iterdir())))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        assert inspect_directory(directory) is not None
