"""Checkpoints of many architectures pass, with their parameters, their cache and their context read right."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checkpoint import inspect_directory
from pipeline.checkpoint.inspected import Inspection, Parameters
from tests.assets.architectures import ARCHITECTURES
from tests.assets.checkpoints import make_tiny_checkpoint


def inspected(folder: Path, architecture: str) -> Inspection:
    return inspect_directory(make_tiny_checkpoint(folder / "model", architecture=architecture))


def parameters(folder: Path, architecture: str) -> Parameters:
    found = inspected(folder, architecture).parameters
    assert found is not None
    return found


def test_there_are_many() -> None:
    assert len(ARCHITECTURES) >= 20


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_it_is_not_denied(tmp_path: Path, architecture: str) -> None:
    inspection = inspected(tmp_path, architecture)
    assert [found for found in inspection.findings if found.severity in ("deny", "block")] == []
    assert inspection.layers == 2
    assert inspection.attention is not None


@pytest.mark.parametrize("architecture", ["llama-fp8", "llama-int4", "llama-gptq"])
def test_quantised_weights_count_as_what_they_stand_for(tmp_path: Path, architecture: str) -> None:
    quantised = parameters(tmp_path / "quantised", architecture)
    whole = parameters(tmp_path / "whole", "llama-untied")
    kind = {"llama-fp8": "F8_E4M3", "llama-int4": "INT4", "llama-gptq": "INT4"}[architecture]
    assert quantised.total == whole.total
    matrices = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64)
    assert quantised.by_dtype == {kind: matrices, "BF16": whole.total - matrices}


@pytest.mark.parametrize(
    ("architecture", "layers", "inner"),
    [("qwen3-moe", 2, 48), ("qwen2-moe", 2, 48), ("mixtral", 2, 96), ("deepseek-v3", 1, 48)],
)
def test_active_parameters_are_those_of_two_experts_in_eight(
    tmp_path: Path, architecture: str, layers: int, inner: int
) -> None:
    found = parameters(tmp_path, architecture)
    routed = layers * 8 * 3 * inner * 64
    assert found.total - found.active == routed * 6 // 8


def test_a_dense_model_is_active_as_a_whole(tmp_path: Path) -> None:
    found = parameters(tmp_path, "qwen3")
    assert found.active == found.total


def test_the_head_counts_as_embedding(tmp_path: Path) -> None:
    assert parameters(tmp_path / "tied", "llama").embedding == 320 * 64
    assert parameters(tmp_path / "untied", "llama-untied").embedding == 2 * 320 * 64
    assert parameters(tmp_path / "neox", "gpt-neox").embedding == 2 * 320 * 64
    assert parameters(tmp_path / "gpt2", "gpt2").embedding == 320 * 64 + 512 * 64


def test_kinds_of_attention(tmp_path: Path) -> None:
    seen = {}
    for architecture in ("gemma2", "mistral", "qwen2", "deepseek-v3"):
        attention = inspected(tmp_path / architecture, architecture).attention
        assert attention is not None
        seen[architecture] = (attention.full_layers, attention.window_layers, attention.window, attention.latent)
    assert seen == {
        "gemma2": (1, 1, 512, None),
        "mistral": (0, 2, 512, None),
        "qwen2": (2, 0, None, None),
        "deepseek-v3": (2, 0, None, 32),
    }
