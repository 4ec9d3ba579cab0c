"""The architectures of which `tests.assets.checkpoints` makes tiny checkpoints: configuration and tensors of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

HIDDEN = 64
INNER = 96
HEADS = 2
KV_HEADS = 1
HEAD_DIM = 32  # the smallest that vLLM's kernels on a CPU support


@dataclass(frozen=True)
class Tensor:
    """A tensor to be written.  Weights of linear layers are [out, in]."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "BF16"


@dataclass(frozen=True)
class Made:
    """The configuration and the tensors of one checkpoint."""

    config: Mapping[str, Any]
    tensors: tuple[Tensor, ...]


def llama(layers: int, vocabulary: int) -> Made:
    """Llama with tied embeddings."""
    return Made(
        _common(layers, vocabulary, "LlamaForCausalLM", "llama", tie_word_embeddings=True),
        _decoder(layers, vocabulary, head=False),
    )


def _common(layers: int, vocabulary: int, architecture: str, model_type: str, **more: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
        **more,
    }


def _attention(layer: int) -> tuple[Tensor, ...]:
    prefix = f"model.layers.{layer}."
    return (
        Tensor(prefix + "input_layernorm.weight", (HIDDEN,)),
        Tensor(prefix + "post_attention_layernorm.weight", (HIDDEN,)),
        Tensor(prefix + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)),
    )


def _mlp(layer: int) -> tuple[Tensor, ...]:
    return _gated(f"model.layers.{layer}.mlp.", INNER)


def _gated(prefix: str, inner: int) -> tuple[Tensor, ...]:
    return (
        Tensor(prefix + "gate_proj.weight", (inner, HIDDEN)),
        Tensor(prefix + "up_proj.weight", (inner, HIDDEN)),
        Tensor(prefix + "down_proj.weight", (HIDDEN, inner)),
    )


def _decoder(
    layers: int,
    vocabulary: int,
    *,
    head: bool,
    layer: Callable[[int], tuple[Tensor, ...]] = lambda number: _attention(number) + _mlp(number),
) -> tuple[Tensor, ...]:
    """Embeddings, `layer(n)` for each layer, the last norm and, unless tied, the output head."""
    body = [tensor for number in range(layers) for tensor in layer(number)]
    last = [Tensor("lm_head.weight", (vocabulary, HIDDEN))] if head else []
    return (
        Tensor("model.embed_tokens.weight", (vocabulary, HIDDEN)),
        *body,
        Tensor("model.norm.weight", (HIDDEN,)),
        *last,
    )


ARCHITECTURES: Mapping[str, Callable[[int, int], Made]] = MappingProxyType({"llama": llama})
