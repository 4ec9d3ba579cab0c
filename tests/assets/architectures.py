"""The architectures of which `tests.assets.checkpoints` makes tiny checkpoints: configuration and tensors of each.

Names and shapes are those of the published models, so that transformers loads every tensor and misses none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.assets.layers import (
    EXPERTS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    INNER,
    KV_HEADS,
    Made,
    Tensor,
    attention,
    attention_bias,
    common,
    decoder,
    gated,
    head_norms,
    latent_attention,
    layer_norms,
    mlp,
    routed,
    with_bias,
    with_four_norms,
    with_head_norms,
)
from tests.assets.quantised import llama_fp8, llama_gptq, llama_int4


def llama(layers: int, vocabulary: int) -> Made:
    """Llama with tied embeddings."""
    config = common(layers, vocabulary, "LlamaForCausalLM", "llama", tie_word_embeddings=True)
    return Made(config, decoder(layers, vocabulary, head=False))


def llama_untied(layers: int, vocabulary: int) -> Made:
    """Llama with an output head of its own and a stretched rotary embedding, as Llama 3.1 has."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    config = common(layers, vocabulary, "LlamaForCausalLM", "llama", rope_scaling=scaling)
    return Made(config, decoder(layers, vocabulary, head=True))


def mistral(layers: int, vocabulary: int) -> Made:
    """Mistral: Llama's tensors, attention in a window."""
    config = common(layers, vocabulary, "MistralForCausalLM", "mistral", sliding_window=512)
    return Made(config, decoder(layers, vocabulary, head=True))


def granite(layers: int, vocabulary: int) -> Made:
    """Granite: Llama's tensors, with multipliers."""
    config = common(layers, vocabulary, "GraniteForCausalLM", "granite", embedding_multiplier=12.0, logits_scaling=8.0)
    return Made(config, decoder(layers, vocabulary, head=True))


def smollm3(layers: int, vocabulary: int) -> Made:
    """SmolLM3: Llama's tensors, some layers without rotary embedding."""
    config = common(
        layers, vocabulary, "SmolLM3ForCausalLM", "smollm3", tie_word_embeddings=True, no_rope_layers=[1] * layers
    )
    return Made(config, decoder(layers, vocabulary, head=False))


def qwen2(layers: int, vocabulary: int) -> Made:
    """Qwen2 and 2.5: biases on queries, keys and values."""
    config = common(layers, vocabulary, "Qwen2ForCausalLM", "qwen2", use_sliding_window=False, sliding_window=512)
    return Made(config, decoder(layers, vocabulary, head=True, layer=with_bias))


def qwen3(layers: int, vocabulary: int) -> Made:
    """Qwen3: norms on queries and keys."""
    config = common(layers, vocabulary, "Qwen3ForCausalLM", "qwen3", tie_word_embeddings=True)
    return Made(config, decoder(layers, vocabulary, head=False, layer=with_head_norms))


def qwen2_moe(layers: int, vocabulary: int) -> Made:
    """Qwen2-MoE: routed experts beside a shared one."""
    config = common(
        layers,
        vocabulary,
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        num_experts=EXPERTS,
        num_experts_per_tok=2,
        moe_intermediate_size=INNER // 2,
        shared_expert_intermediate_size=INNER,
    )

    def experts(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}.mlp."
        shared = gated(prefix + "shared_expert.", INNER)
        gates = (
            Tensor(prefix + "gate.weight", (EXPERTS, HIDDEN)),
            Tensor(prefix + "shared_expert_gate.weight", (1, HIDDEN)),
        )
        return (*attention(number), *attention_bias(number), *routed(prefix), *shared, *gates)

    return Made(config, decoder(layers, vocabulary, head=True, layer=experts))


def qwen3_moe(layers: int, vocabulary: int) -> Made:
    """Qwen3-MoE: routed experts alone."""
    config = common(
        layers,
        vocabulary,
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        num_experts=EXPERTS,
        num_experts_per_tok=2,
        moe_intermediate_size=INNER // 2,
    )

    def experts(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}.mlp."
        gate = Tensor(prefix + "gate.weight", (EXPERTS, HIDDEN))
        return (*attention(number), *head_norms(number), *routed(prefix), gate)

    return Made(config, decoder(layers, vocabulary, head=True, layer=experts))


def mixtral(layers: int, vocabulary: int) -> Made:
    """Mixtral: experts whose matrices are called w1, w2 and w3."""
    config = common(
        layers, vocabulary, "MixtralForCausalLM", "mixtral", num_local_experts=EXPERTS, num_experts_per_tok=2
    )

    def experts(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}.block_sparse_moe."
        routed = [
            tensor
            for expert in range(EXPERTS)
            for tensor in (
                Tensor(f"{prefix}experts.{expert}.w1.weight", (INNER, HIDDEN)),
                Tensor(f"{prefix}experts.{expert}.w2.weight", (HIDDEN, INNER)),
                Tensor(f"{prefix}experts.{expert}.w3.weight", (INNER, HIDDEN)),
            )
        ]
        return (*attention(number), *routed, Tensor(prefix + "gate.weight", (EXPERTS, HIDDEN)))

    return Made(config, decoder(layers, vocabulary, head=True, layer=experts))


def deepseek_v3(layers: int, vocabulary: int) -> Made:
    """DeepSeek-V3: latent attention, a dense first layer, routed experts in groups beside a shared one."""
    config = common(
        layers,
        vocabulary,
        "DeepseekV3ForCausalLM",
        "deepseek_v3",
        num_key_value_heads=HEADS,
        n_routed_experts=EXPERTS,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        moe_intermediate_size=INNER // 2,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=16,
        qk_rope_head_dim=16,
        v_head_dim=32,
        head_dim=16,
    )

    def experts(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}.mlp."
        if number == 0:
            return (*latent_attention(number), *mlp(number))
        gates = (
            Tensor(prefix + "gate.weight", (EXPERTS, HIDDEN)),
            Tensor(prefix + "gate.e_score_correction_bias", (EXPERTS,)),
        )
        shared = gated(prefix + "shared_experts.", INNER // 2)
        return (*latent_attention(number), *routed(prefix), *shared, *gates)

    return Made(config, decoder(layers, vocabulary, head=True, layer=experts))


def gemma2(layers: int, vocabulary: int) -> Made:
    """Gemma 2: four norms a layer, tied embeddings, every other layer in a window."""
    config = common(layers, vocabulary, "Gemma2ForCausalLM", "gemma2", tie_word_embeddings=True, sliding_window=512)
    kinds = ["sliding_attention", "full_attention"]
    config["layer_types"] = [kinds[number % 2] for number in range(layers)]
    return Made(config, decoder(layers, vocabulary, head=False, layer=with_four_norms))


def gemma3(layers: int, vocabulary: int) -> Made:
    """Gemma 3, text alone: Gemma 2's norms and norms on queries and keys."""
    config = common(
        layers, vocabulary, "Gemma3ForCausalLM", "gemma3_text", tie_word_embeddings=True, sliding_window=512
    )
    config["layer_types"] = ["sliding_attention"] * (layers - 1) + ["full_attention"]

    def layer(number: int) -> tuple[Tensor, ...]:
        return (*with_four_norms(number), *head_norms(number))

    return Made(config, decoder(layers, vocabulary, head=False, layer=layer))


def phi3(layers: int, vocabulary: int) -> Made:
    """Phi-3 and Phi-4: queries, keys and values in one matrix, gate and up in another."""
    config = common(layers, vocabulary, "Phi3ForCausalLM", "phi3", original_max_position_embeddings=2048)

    def layer(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}."
        return (
            *layer_norms(number),
            Tensor(prefix + "self_attn.qkv_proj.weight", ((HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN)),
            Tensor(prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)),
            Tensor(prefix + "mlp.gate_up_proj.weight", (2 * INNER, HIDDEN)),
            Tensor(prefix + "mlp.down_proj.weight", (HIDDEN, INNER)),
        )

    return Made(config, decoder(layers, vocabulary, head=True, layer=layer))


def gpt2(layers: int, vocabulary: int) -> Made:
    """GPT-2: learned positions, biases everywhere, matrices [in, out], no chat template of its own."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocabulary,
        "n_embd": HIDDEN,
        "n_layer": layers,
        "n_head": HEADS,
        "n_positions": 512,
        "n_ctx": 512,
        "activation_function": "gelu_new",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
        "layer_norm_epsilon": 1e-5,
    }
    tensors = [Tensor("wte.weight", (vocabulary, HIDDEN), "F32"), Tensor("wpe.weight", (512, HIDDEN), "F32")]
    for number in range(layers):
        tensors += _gpt2_layer(f"h.{number}.")
    return Made(config, (*tensors, *_norm("ln_f")))


def _gpt2_layer(prefix: str) -> list[Tensor]:
    matrices = {"attn.c_attn": 3 * HIDDEN, "attn.c_proj": HIDDEN, "mlp.c_fc": 4 * HIDDEN}
    made = [Tensor(f"{prefix}{name}.weight", (HIDDEN, size), "F32") for name, size in matrices.items()]
    made += [Tensor(f"{prefix}{name}.bias", (size,), "F32") for name, size in matrices.items()]
    made += [
        Tensor(prefix + "mlp.c_proj.weight", (4 * HIDDEN, HIDDEN), "F32"),
        Tensor(prefix + "mlp.c_proj.bias", (HIDDEN,), "F32"),
    ]
    return [*made, *_norm(prefix + "ln_1"), *_norm(prefix + "ln_2")]


def _norm(name: str) -> tuple[Tensor, Tensor]:
    return Tensor(name + ".weight", (HIDDEN,), "F32"), Tensor(name + ".bias", (HIDDEN,), "F32")


def gpt_neox(layers: int, vocabulary: int) -> Made:
    """GPT-NeoX and Pythia: one matrix for queries, keys and values, biases, the head called embed_out."""
    config = common(layers, vocabulary, "GPTNeoXForCausalLM", "gpt_neox", hidden_act="gelu", rotary_pct=0.25)
    tensors = [Tensor("gpt_neox.embed_in.weight", (vocabulary, HIDDEN), "F32")]
    sizes = {
        "attention.query_key_value": (3 * HIDDEN, HIDDEN),
        "attention.dense": (HIDDEN, HIDDEN),
        "mlp.dense_h_to_4h": (INNER, HIDDEN),
        "mlp.dense_4h_to_h": (HIDDEN, INNER),
    }
    for number in range(layers):
        prefix = f"gpt_neox.layers.{number}."
        for name, shape in sizes.items():
            tensors += [
                Tensor(f"{prefix}{name}.weight", shape, "F32"),
                Tensor(f"{prefix}{name}.bias", shape[:1], "F32"),
            ]
        tensors += [*_norm(prefix + "input_layernorm"), *_norm(prefix + "post_attention_layernorm")]
    tensors += [*_norm("gpt_neox.final_layer_norm"), Tensor("embed_out.weight", (vocabulary, HIDDEN), "F32")]
    return Made(config, tuple(tensors))


def olmo2(layers: int, vocabulary: int) -> Made:
    """OLMo 2: norms after the blocks, and on whole queries and keys."""
    config = common(layers, vocabulary, "Olmo2ForCausalLM", "olmo2", head_dim=HIDDEN // HEADS)

    def layer(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}."
        kept = tuple(tensor for tensor in attention(number) if "input_layernorm" not in tensor.name)
        return (
            *kept,
            *mlp(number),
            Tensor(prefix + "post_feedforward_layernorm.weight", (HIDDEN,)),
            Tensor(prefix + "self_attn.q_norm.weight", (HEADS * HEAD_DIM,)),
            Tensor(prefix + "self_attn.k_norm.weight", (KV_HEADS * HEAD_DIM,)),
        )

    return Made(config, decoder(layers, vocabulary, head=True, layer=layer))


def starcoder2(layers: int, vocabulary: int) -> Made:
    """StarCoder2: biases everywhere, two matrices in the feed-forward part."""
    config = common(
        layers,
        vocabulary,
        "Starcoder2ForCausalLM",
        "starcoder2",
        tie_word_embeddings=True,
        hidden_act="gelu_pytorch_tanh",
    )

    def layer(number: int) -> tuple[Tensor, ...]:
        prefix = f"model.layers.{number}."
        matrices = (
            Tensor(prefix + "mlp.c_fc.weight", (INNER, HIDDEN)),
            Tensor(prefix + "mlp.c_proj.weight", (HIDDEN, INNER)),
        )
        weights = (*attention(number), *matrices)
        return (*weights, *(Tensor(t.name.removesuffix("weight") + "bias", t.shape[:1]) for t in weights))

    made = decoder(layers, vocabulary, head=False, layer=layer)
    return Made(config, (*made, Tensor("model.norm.bias", (HIDDEN,))))


_ALL = (
    llama,
    llama_untied,
    mistral,
    granite,
    smollm3,
    qwen2,
    qwen3,
    qwen2_moe,
    qwen3_moe,
    mixtral,
    deepseek_v3,
    gemma2,
    gemma3,
    phi3,
    gpt2,
    gpt_neox,
    olmo2,
    starcoder2,
    llama_fp8,
    llama_int4,
    llama_gptq,
)
ARCHITECTURES: Mapping[str, Callable[[int, int], Made]] = MappingProxyType(
    {made.__name__.replace("_", "-"): made for made in _ALL}
)
"""Every architecture by its name, such as `qwen3-moe`."""
