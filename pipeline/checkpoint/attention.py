"""What config.json says about attention: the shape of the key-value cache, and the context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.inspected import Attention

_FULL = frozenset({"full_attention", "attention", "global_attention", "hybrid"})
_WINDOW = frozenset({"sliding_attention", "chunked_attention", "local_attention"})
_LENGTHENING = frozenset({"yarn", "linear", "dynamic"})


def read_attention(configuration: Configuration) -> Attention | None:
    """The attention of the language model, or None where config.json does not say enough."""
    layers = configuration.number("num_hidden_layers", "n_layer", "num_layers")
    heads = configuration.number("num_attention_heads", "n_head")
    hidden = configuration.number("hidden_size", "n_embd", "d_model")
    if layers is None or heads is None or hidden is None:
        return None
    full, windowed, window = _kinds_of_layers(configuration, layers)
    rank, rope = configuration.number("kv_lora_rank"), configuration.number("qk_rope_head_dim")
    return Attention(
        full_layers=full,
        window_layers=windowed,
        window=window,
        heads=heads,
        kv_heads=configuration.number("num_key_value_heads", "num_kv_heads", "multi_query_group_num") or heads,
        head_dim=configuration.number("head_dim", "kv_channels", "attention_head_dim") or hidden // heads,
        latent=rank + (rope or 0) if rank is not None else None,
    )


def _kinds_of_layers(configuration: Configuration, layers: int) -> tuple[int, int, int | None]:
    """How many layers attend to everything, and how many to a window of how many tokens."""
    window = configuration.number("sliding_window", "attention_chunk_size")
    if configuration.text.get("use_sliding_window") is False:
        window = None
    kinds = configuration.text.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind in _FULL for kind in kinds), sum(kind in _WINDOW for kind in kinds), window
    interval = configuration.number("full_attention_interval")
    if interval is not None:  # the layers between are linear attention
        return layers // interval, 0, None
    pattern = configuration.number("sliding_window_pattern")
    if window is not None and pattern is not None:
        return layers // pattern, layers - layers // pattern, window
    return (0, layers, window) if window is not None else (layers, 0, None)


def context_length(configuration: Configuration) -> int | None:
    """The longest context in tokens: the positions trained on, times what the rotary embedding is stretched by."""
    positions = configuration.number("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
    scaling = configuration.text.get("rope_scaling") or configuration.text.get("rope_parameters")
    if positions is None or not isinstance(scaling, dict):
        return positions
    return _stretched(positions, scaling)


def _stretched(positions: int, scaling: Mapping[str, Any]) -> int:
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
    if (
        kind not in _LENGTHENING
        or not isinstance(factor, int | float)
        or isinstance(factor, bool)
        or not 1 <= factor <= 1024
    ):
        return positions
    trained = scaling.get("original_max_position_embeddings")
    if kind == "yarn" and type(trained) is int and 0 < trained < 2**31:
        positions = trained
    return int(positions * factor)
