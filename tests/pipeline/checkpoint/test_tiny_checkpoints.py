"""The checkpoints that the tests make are real: transformers loads them without a key missing or left over."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.assets.architectures import ARCHITECTURES
from tests.assets.checkpoints import make_tiny_checkpoint

# transformers needs packages of its own to load these; their tensors are Llama's, in another form.
QUANTISED = {"llama-fp8", "llama-int4", "llama-gptq"}


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - QUANTISED))
def test_transformers_loads_every_tensor_and_misses_none(tmp_path: Path, architecture: str) -> None:
    transformers: Any = importlib.import_module("transformers")
    directory = make_tiny_checkpoint(tmp_path / "model", architecture=architecture)
    _, loading = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"] and not loading["mismatched_keys"]


def test_transformers_loads_shards_and_tokenizer(tmp_path: Path) -> None:
    transformers: Any = importlib.import_module("transformers")
    directory = make_tiny_checkpoint(tmp_path / "model", shards=3)
    _, loading = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    assert tokenizer.decode(tokenizer("Hello, world").input_ids) == "Hello, world"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False).startswith("<|im_start|>")


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    first, again, other = (
        make_tiny_checkpoint(tmp_path / name, seed=seed) / "model.safetensors"
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    assert set(ARCHITECTURES) >= {"llama"}
