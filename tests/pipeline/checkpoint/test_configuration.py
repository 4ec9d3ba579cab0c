"""What config.json says of attention, context and architecture."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint import inspect_directory
from pipeline.checkpoint.architecture import _tables, inspect_architecture, served_architectures
from pipeline.checkpoint.attention import context_length, read_attention
from pipeline.checkpoint.configuration import Configuration
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.assets.templates import TEMPLATES
from tests.pipeline.checkpoint.test_inspection import airlock


def configured(**settings: Any) -> Configuration:
    return Configuration(
        {"num_hidden_layers": 48, "num_attention_heads": 16, "hidden_size": 2048, **settings}, {}, {}, ()
    )


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}, 16_384),
        ({"max_position_embeddings": 131_072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131_072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": "8"}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 1e9}}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 777}}, 777),
        ({}, None),
    ],
)
def test_context(settings: dict[str, Any], tokens: int | None) -> None:
    assert context_length(configured(**settings)) == tokens


def test_a_context_stretched_by_yarn_starts_from_what_was_trained() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    assert context_length(configured(max_position_embeddings=40_960, rope_scaling=scaling)) == 131_072


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, (48, 0, None)),
        ({"sliding_window": 512}, (0, 48, 512)),
        ({"sliding_window": 512, "use_sliding_window": False}, (48, 0, None)),
        ({"sliding_window": 1024, "sliding_window_pattern": 6}, (8, 40, 1024)),
        ({"full_attention_interval": 4}, (12, 0, None)),
        ({"layer_types": ["linear_attention", "full_attention"] * 24}, (24, 0, None)),
    ],
)
def test_kinds_of_layers(settings: dict[str, Any], layers: tuple[int, int, int | None]) -> None:
    attention = read_attention(configured(**settings))
    assert attention is not None
    assert (attention.full_layers, attention.window_layers, attention.window) == layers


def test_a_configuration_that_says_too_little_has_no_attention() -> None:
    assert read_attention(Configuration({"hidden_size": 64}, {}, {}, ())) is None


def test_architectures_are_read_from_the_installed_source() -> None:
    served = served_architectures()
    assert served is not None
    assert {"LlamaForCausalLM", "Qwen3MoeForCausalLM"} <= served
    assert "BertModel" not in served


def test_without_vllm_nothing_is_claimed() -> None:
    (found,) = inspect_architecture("LlamaForCausalLM", None)
    assert (found.id, found.severity) == ("checkpoint.architecture-unchecked", "warn")
    assert inspect_architecture(None, frozenset()) == ()


def test_tables_are_read_with_and_without_annotation() -> None:
    tree = ast.parse("A = {'x': 1, 2: 3}\nB: dict[str, int] = {'y': 1}\nC = D = {'z': 1}\nE = 5")
    assert _tables(tree) == {"A": ("x",), "B": ("y",), "C": ("z",), "D": ("z",)}


def test_sampling_defaults_are_shown(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    (directory / "generation_config.json").write_text('{"eos_token_id": 2, "temperature": 0.7, "top_p": 0.9}')
    (found,) = inspect_directory(directory).findings
    assert found.id == "checkpoint.sampling-defaults"
    assert "temperature = 0.7, top_p = 0.9" in found.message


def test_the_command_compares_with_a_baseline(tmp_path: Path) -> None:
    old = make_tiny_checkpoint(tmp_path / "old")
    new = make_tiny_checkpoint(tmp_path / "new", chat_template=TEMPLATES["default prompt"])
    text = airlock("inspect", str(new), "--baseline", str(old))[1]
    assert "checkpoint.template-changed" in text and "small and friendly model" in text
