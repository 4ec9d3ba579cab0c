"""The parts that the tiny checkpoints of `tests.assets.architectures` are built from: settings, layers, matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN = 64
INNER = 96
HEADS = 2
EXPERTS = 8
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


def common(layers: int, vocabulary: int, architecture: str, model_type: str, **more: Any) -> dict[str, Any]:
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


def layer_norms(layer: int) -> tuple[Tensor, ...]:
    prefix = f"model.layers.{layer}."
    return (
        Tensor(prefix + "input_layernorm.weight", (HIDDEN,)),
        Tensor(prefix + "post_attention_layernorm.weight", (HIDDEN,)),
    )


def attention(layer: int) -> tuple[Tensor, ...]:
    """The norms of a layer and its four matrices."""
    prefix = f"model.layers.{layer}."
    return (
        *layer_norms(layer),
        Tensor(prefix + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)),
        Tensor(prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)),
    )


def attention_bias(layer: int) -> tuple[Tensor, ...]:
    prefix = f"model.layers.{layer}.self_attn."
    return (
        Tensor(prefix + "q_proj.bias", (HEADS * HEAD_DIM,)),
        Tensor(prefix + "k_proj.bias", (KV_HEADS * HEAD_DIM,)),
        Tensor(prefix + "v_proj.bias", (KV_HEADS * HEAD_DIM,)),
    )


def head_norms(layer: int) -> tuple[Tensor, ...]:
    prefix = f"model.layers.{layer}.self_attn."
    return Tensor(prefix + "q_norm.weight", (HEAD_DIM,)), Tensor(prefix + "k_norm.weight", (HEAD_DIM,))


def with_bias(layer: int) -> tuple[Tensor, ...]:
    return (*attention(layer), *attention_bias(layer), *mlp(layer))


def with_head_norms(layer: int) -> tuple[Tensor, ...]:
    return (*attention(layer), *head_norms(layer), *mlp(layer))


def with_four_norms(layer: int) -> tuple[Tensor, ...]:
    prefix = f"model.layers.{layer}."
    norms = (
        Tensor(prefix + "pre_feedforward_layernorm.weight", (HIDDEN,)),
        Tensor(prefix + "post_feedforward_layernorm.weight", (HIDDEN,)),
    )
    return (*attention(layer), *norms, *mlp(layer))


def latent_attention(layer: int) -> tuple[Tensor, ...]:
    """Queries, and keys with values, each through a narrow layer (DeepSeek-V2, arXiv 2405.04434)."""
    prefix = f"model.layers.{layer}.self_attn."
    return (
        *layer_norms(layer),
        Tensor(prefix + "q_a_proj.weight", (16, HIDDEN)),
        Tensor(prefix + "q_a_layernorm.weight", (16,)),
        Tensor(prefix + "q_b_proj.weight", (HEADS * 32, 16)),
        Tensor(prefix + "kv_a_proj_with_mqa.weight", (32, HIDDEN)),
        Tensor(prefix + "kv_a_layernorm.weight", (16,)),
        Tensor(prefix + "kv_b_proj.weight", (HEADS * 48, 16)),
        Tensor(prefix + "o_proj.weight", (HIDDEN, HEADS * 32)),
    )


def routed(prefix: str) -> tuple[Tensor, ...]:
    """Experts with half the inner size."""
    return tuple(tensor for expert in range(EXPERTS) for tensor in gated(f"{prefix}experts.{expert}.", INNER // 2))


def mlp(layer: int) -> tuple[Tensor, ...]:
    return gated(f"model.layers.{layer}.mlp.", INNER)


def gated(prefix: str, inner: int) -> tuple[Tensor, ...]:
    return (
        Tensor(prefix + "gate_proj.weight", (inner, HIDDEN)),
        Tensor(prefix + "up_proj.weight", (inner, HIDDEN)),
        Tensor(prefix + "down_proj.weight", (HIDDEN, inner)),
    )


def decoder(
    layers: int,
    vocabulary: int,
    *,
    head: bool,
    layer: Callable[[int], tuple[Tensor, ...]] = lambda number: attention(number) + mlp(number),
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
