"""Tiny Llama checkpoints with quantised matrices, as the common quantisers write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.assets.layers import Made, Tensor, common, decoder


def llama_fp8(layers: int, vocabulary: int) -> Made:
    """Llama in 8-bit floats by compressed-tensors, one scale a matrix."""
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    config = _compressed(layers, vocabulary, "float-quantized", scheme)
    return Made(config, tuple(tensor for each in decoder(layers, vocabulary, head=True) for tensor in _in_fp8(each)))


def llama_int4(layers: int, vocabulary: int) -> Made:
    """Llama in 4-bit integers by compressed-tensors, eight to a 32-bit integer, a scale for 32 of them."""
    scheme = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True, "dynamic": False}
    config = _compressed(layers, vocabulary, "pack-quantized", scheme)
    return Made(config, tuple(tensor for each in decoder(layers, vocabulary, head=True) for tensor in _in_int4(each)))


def llama_gptq(layers: int, vocabulary: int) -> Made:
    """Llama in 4-bit integers by GPTQ: matrices [in / 8, out], zero points and scales by group."""
    config = common(layers, vocabulary, "LlamaForCausalLM", "llama")
    config["quantization_config"] = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "desc_act": False,
        "sym": True,
    }
    return Made(config, tuple(tensor for each in decoder(layers, vocabulary, head=True) for tensor in _in_gptq(each)))


def _compressed(layers: int, vocabulary: int, form: str, scheme: Mapping[str, Any]) -> dict[str, Any]:
    config = common(layers, vocabulary, "LlamaForCausalLM", "llama")
    group = {"targets": ["Linear"], "weights": dict(scheme), "input_activations": None, "output_activations": None}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": form,
        "ignore": ["lm_head"],
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
    }
    return config


def _is_quantised(tensor: Tensor) -> bool:
    return tensor.name.endswith("_proj.weight")


def _in_fp8(tensor: Tensor) -> tuple[Tensor, ...]:
    if not _is_quantised(tensor):
        return (tensor,)
    return Tensor(tensor.name, tensor.shape, "F8_E4M3"), Tensor(tensor.name + "_scale", (1,), "F32")


def _in_int4(tensor: Tensor) -> tuple[Tensor, ...]:
    if not _is_quantised(tensor):
        return (tensor,)
    rows, columns = tensor.shape
    return (
        Tensor(tensor.name + "_packed", (rows, columns // 8), "I32"),
        Tensor(tensor.name + "_scale", (rows, columns // 32)),
        Tensor(tensor.name + "_shape", (2,), "I64"),
    )


def _in_gptq(tensor: Tensor) -> tuple[Tensor, ...]:
    if not _is_quantised(tensor):
        return (tensor,)
    stem = tensor.name.removesuffix("weight")
    rows, columns = tensor.shape
    return (
        Tensor(stem + "qweight", (columns // 8, rows), "I32"),
        Tensor(stem + "qzeros", (columns // 32, rows // 8), "I32"),
        Tensor(stem + "scales", (columns // 32, rows), "F16"),
        Tensor(stem + "g_idx", (columns,), "I32"),
    )
