"""Parameters counted from headers: in all, in use for one token, in embeddings, by type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.inspected import Parameters
from pipeline.checkpoint.safetensors_header import TensorEntry

_EMBEDDING = re.compile(r"(embed_tokens|wte|wpe|word_embeddings|embed_in|tok_embeddings|embedding|embeddings)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")
_ROUTED = re.compile(r"\.(experts|block_sparse_moe\.experts|mlp\.experts)\.")
# Numbers that describe other numbers: scales and zero points of quantised weights, buffers.
_NOT_PARAMETERS = re.compile(
    r"(_scale|_scale_2|_scale_inv|_scales|\.scales|_zero_point|\.qzeros|\.g_idx|_g_idx|weight_shape|_global_scale"
    r"|inv_freq|\.masked_bias|attn\.bias|k_scale|v_scale|\.absmax|\.quant_map|\.nested_absmax|\.nested_quant_map"
    r"|\.bitsandbytes__\w+|num_batches_tracked|position_ids)$"
)


def count_parameters(tensors: Iterable[TensorEntry], configuration: Configuration) -> Parameters:
    """Count the parameters of a model with these tensors.

    `active` follows the usual convention for mixtures of experts: everything but the routed experts, and of these the
    share that one token is routed to (top-k of the experts in each layer).  Shared experts and embeddings count whole.
    """
    total = embedding = routed = 0
    by_type: Counter[str] = Counter()
    for entry in tensors:
        if _NOT_PARAMETERS.search(entry.name):
            continue
        label, count = _values(entry, configuration)
        total += count
        by_type[label] += count
        if is_embedding(entry.name) or is_head(entry.name):
            embedding += count
        if _ROUTED.search(entry.name):
            routed += count
    return Parameters(total, total - routed + _share(routed, configuration), embedding, dict(by_type))


def is_embedding(name: str) -> bool:
    """Whether the tensor called `name` holds the input embedding of tokens or positions."""
    return _EMBEDDING.search(name) is not None


def is_head(name: str) -> bool:
    """Whether the tensor called `name` is the output head."""
    return _HEAD.search(name) is not None


def _values(entry: TensorEntry, configuration: Configuration) -> tuple[str, int]:
    """The type and number of the weights that a tensor stands for, unpacking what quantisation packed."""
    bits = _quantised_bits(configuration.model)
    if entry.dtype in ("I32", "U32") and entry.name.endswith((".weight_packed", ".qweight")):
        width = bits or 4
        return f"INT{width}", entry.count * 32 // width
    if entry.dtype == "U8" and entry.name.endswith((".weight_packed", "_blocks", "_packed", ".weight")):
        return "FP4", entry.count * 2
    if entry.dtype == "I8":
        return "INT8", entry.count
    return entry.dtype, entry.count


def _quantised_bits(model: Mapping[str, object]) -> int | None:
    """The width of packed weights, from the forms in which quantisers write it."""
    quantisation = model.get("quantization_config")
    if not isinstance(quantisation, dict):
        return None
    places: list[object] = [quantisation.get("bits"), quantisation.get("w_bit")]
    groups = quantisation.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        places.append(weights.get("num_bits") if isinstance(weights, dict) else None)
    return next((place for place in places if type(place) is int and place in (1, 2, 3, 4, 8)), None)


def _share(routed: int, configuration: Configuration) -> int:
    experts = configuration.number("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    used = configuration.number("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
    if not routed or experts is None or used is None or used >= experts:
        return routed
    return routed * used // experts
