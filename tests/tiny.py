"""Tiny random models of every family of `hogwild.models.families`, built from transformers' own configs.

Their weights are drawn wide enough to make attention sharp: what it reads, and from where, shows in the logits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from hogwild import native
from hogwild.attention import reference_attention
from hogwild.engine import Block, Engine, Row
from hogwild.engine.selftest import largest_difference, plain_logits
from hogwild.geometry import Layer

DEVICE = torch.device(os.environ.get("HOGWILD_TEST_DEVICE", "cpu"))
"""Where the tests of attention for GPUs run: CONTRIBUTING.md says how to run them on a card."""

VOCAB, WINDOW = 200, 16
BASE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
ROUTED = {**EXPERTS, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
# fmt: off
MLA = {"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
       "v_head_dim": 16, "head_dim": 8, **ROUTED}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
DEEPSEEK_YARN = {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
MINISTRAL3 = {**YARN, "llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 256}
SLIDING = {"sliding_window": WINDOW}
UPPER = {**SLIDING, "use_sliding_window": True, "max_window_layers": 2}
GEMMA = {**SLIDING, "query_pre_attn_scalar": 16}
CAPPED = {**GEMMA, "attn_logit_softcapping": 2.0}  # the usual 50 would hardly touch the scores of small models
SIX = {"num_hidden_layers": 6, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2}
SHARED = {**SLIDING, **SIX, "vocab_size_per_layer_input": VOCAB, "hidden_size_per_layer_input": 16,
          "num_kv_shared_layers": 2}
ONE_IN_FOUR = ["sliding_attention"] * 3 + ["full_attention"]
OLD = {"num_key_value_heads": None, "head_dim": None, "intermediate_size": None}  # what old configs do not know

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama", {}),
    "Llama 3 (llama3 scaling)": ("llama", {"rope_parameters": LLAMA3}),
    "Linear RoPE scaling": ("llama", {"rope_parameters": LINEAR}),
    "YaRN scaling": ("qwen2", {"rope_parameters": YARN}),
    "Mistral": ("mistral", SLIDING),
    "Ministral": ("ministral", {**SLIDING, "layer_types": ONE_IN_FOUR}),
    "Ministral 3": ("ministral3", {**SLIDING, "rope_parameters": MINISTRAL3}),
    "Mixtral": ("mixtral", {**SLIDING, "num_local_experts": 4}),
    "Qwen2": ("qwen2", UPPER),
    "Qwen2-MoE": ("qwen2_moe", {**UPPER, **EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 32}),
    "Qwen3": ("qwen3", {}),
    "Qwen3-MoE": ("qwen3_moe", {**EXPERTS, "num_experts": 4}),
    "Gemma": ("gemma", {"num_key_value_heads": 1}),
    "Gemma 2": ("gemma2", CAPPED),
    "Gemma 3": ("gemma3_text", {**GEMMA, "layer_types": ONE_IN_FOUR}),
    "Gemma 3n": ("gemma3n_text", {**SHARED, "laurel_rank": 8, "intermediate_size": [96] * 6,
                                  "activation_sparsity_pattern": [0.0] * 6}),
    "Gemma 4": ("gemma4_text", {**SHARED, "global_head_dim": 32}),
    "Gemma 4 MoE": ("gemma4_text", {**SLIDING, "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": VOCAB,
                                    "num_kv_shared_layers": 0, "global_head_dim": 32, "enable_moe_block": True,
                                    "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32,
                                    "attention_k_eq_v": True, "num_global_key_value_heads": 1}),
    "VaultGemma": ("vaultgemma", CAPPED),
    "Phi": ("phi", {}),
    "Phi-3": ("phi3", {"partial_rotary_factor": 0.5, "original_max_position_embeddings": 512}),
    "Phi-3 long (longrope)": ("phi3", {"original_max_position_embeddings": 128, "rope_parameters": LONGROPE}),
    "Phi-3.5-MoE": ("phimoe", {**SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "OLMo": ("olmo", {}),
    "OLMo 2": ("olmo2", {}),
    "OLMo 3": ("olmo3", SLIDING),
    "OLMoE": ("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    "Granite": ("granite", {}),
    "Granite-MoE": ("granitemoe", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "SmolLM3": ("smollm3", {}),
    "Cohere": ("cohere", {}),
    "Cohere 2": ("cohere2", SLIDING),
    "GLM-4": ("glm4", {}),
    "GLM-4 (9B, 2024)": ("glm", {}),
    "GLM-4.5": ("glm4_moe", ROUTED),
    "Ernie 4.5": ("ernie4_5", {}),
    "Ernie 4.5 MoE": ("ernie4_5_moe", {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 32}),
    "GPT-OSS": ("gpt_oss", {**SLIDING, "rope_parameters": YARN, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "DeepSeek V2": ("deepseek_v2", MLA),
    "DeepSeek V3": ("deepseek_v3", {**MLA, "rope_parameters": DEEPSEEK_YARN}),
    "StarCoder2": ("starcoder2", SLIDING),
    "GPT-NeoX": ("gpt_neox", {"rotary_pct": 0.25}),
    "Persimmon": ("persimmon", {}),
    "EXAONE 4": ("exaone4", {**SLIDING, "sliding_window_pattern": 4}),
    "Seed-OSS": ("seed_oss", {}),
    "HunYuan": ("hunyuan_v1_dense", {}),
    "HunYuan-MoE": ("hunyuan_v1_moe", {"num_experts": 4, "moe_topk": 2}),
    "Apertus": ("apertus", {}),
    "Arcee": ("arcee", {}),
    "AFMoE": ("afmoe", {**SLIDING, **EXPERTS, "num_experts": 4, "num_dense_layers": 1, "layer_types": ONE_IN_FOUR}),
    "Helium": ("helium", {}),
    "BitNet": ("bitnet", {}),
    "MiniMax-M2": ("minimax_m2", {"rotary_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "dots.llm1": ("dots1", {**ROUTED, "n_shared_experts": 1}),
    "JetMoE": ("jetmoe", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "ModernBERT decoder": ("modernbert-decoder", {"local_attention": 2 * WINDOW, "layer_types": ONE_IN_FOUR}),
    "nanochat": ("nanochat", {}),
    "Dynamic RoPE": ("llama", {"rope_parameters": DYNAMIC}),
    "GPT-2": ("gpt2", OLD),
    "OPT": ("opt", OLD),
    "GPT-J": ("gptj", {**OLD, "rotary_dim": 8, "n_inner": 96}),
    "CodeGen": ("codegen", {**OLD, "rotary_dim": 8}),
    "GPT-Neo": ("gpt_neo", {**OLD, "num_layers": 4, "attention_types": [[["global", "local"], 2]]}),
    "BLOOM": ("bloom", OLD),
    "MPT": ("mpt", OLD),
    "Falcon": ("falcon", {"head_dim": None}),
    "StableLM": ("stablelm", {}),
    "Nemotron": ("nemotron", {}),
    "DiffLlama": ("diffllama", {}),
    "Doge": ("doge", {}),
    "Llama 4": ("llama4_text", {}),
    "DeepSeek V3.2": ("deepseek_v32", {**MLA, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 16}),
    "Mamba": ("mamba", {}),
    "Jamba": ("jamba", {}),
    "Falcon-H1": ("falcon_h1", {}),
    "LFM2": ("lfm2", {"layer_types": ["conv", "full_attention"] * 2}),
    "MiniMax-Text-01": ("minimax", {}),
    "Qwen3-Next": ("qwen3_next", {}),
    "Qwen3.5": ("qwen3_5_text", {}),
    "Granite 4 hybrid": ("granitemoehybrid", {}),
    "RecurrentGemma": ("recurrent_gemma", {}),
    "T5": ("t5", {}),
}
# fmt: on
"""For each family of the table: transformers' model type, and what its tiny config has beside `BASE`."""


def tiny_config(name: str) -> PreTrainedConfig:
    model_type, own = TINY[name]
    settings = {key: value for key, value in {**BASE, **own}.items() if value is not None}
    return AutoConfig.for_model(model_type, **settings)


def tiny_model(name: str, *, seed: int = 0, std: float = 0.15) -> PreTrainedModel:
    """A random model of a family. Matrices, biases and sinks are drawn; norms stay as they are."""
    transformers.utils.logging.set_verbosity_error()  # advice on what random configs lack
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(name)).eval()
    for key, parameter in model.named_parameters():
        if "sinks" in key:
            torch.nn.init.normal_(parameter)
        elif parameter.dim() > 1 or key.endswith("bias"):
            torch.nn.init.normal_(parameter, std=std)
    return model


ATTENTION = ("plain", "fused") if native.library() is not None else ("plain",)
"""The attention functions that work here for float32 on the CPU."""


def tiny_engine(name: str = "Llama", **options: Any) -> Engine:
    """An engine on a tiny model, checked by the self-test, with a pool of 4 MB."""
    return Engine.load(tiny_model(name), **{"kv_memory": 1 << 22, "device": str(DEVICE), **options})


def some_tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(VOCAB, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def alter(engine: Engine, **changes: Any) -> None:
    """Let attention work with another geometry than what was measured, to see that it shows."""
    layers: tuple[Layer, ...] = engine.pool.layers
    engine.pool.layers = tuple(replace(layer, **changes) for layer in layers)


def both(engine: Engine, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of a pass by the engine's attention and by the reference; the blocks are as after the pass."""
    lengths, fast = [len(row.own) for row in rows], engine.attention
    engine.attention = reference_attention
    theirs = engine.forward(rows, all_positions=True)
    for row, length in zip(rows, lengths, strict=True):
        row.own.truncate(length)
    engine.attention = fast
    return engine.forward(rows, all_positions=True), theirs


def ragged_difference(engine: Engine) -> float:
    """Fast against reference: three workers, ragged rows, blocks in any order, longer than the windows."""
    common, a, b, c = (engine.block() for _ in range(4))
    engine.prefill([common], some_tokens(40))
    worst = 0.0
    for turn, (i, j, k) in enumerate([(5, 7, 1), (1, 1, 1), (1, 8, 2), (1, 1, 1)]):
        t = some_tokens(i + j + k, seed=turn + 1)
        views = [[common, b, c, a], [c, common, a, b], [b, a, c]]
        news = (t[:i], t[i : i + j], t[i + j :])
        worst = max(worst, largest_difference(*both(engine, [Row(*row) for row in zip(views, news, strict=True)])))
    return worst


def chain_difference(engine: Engine, splits: Sequence[int] = (20, 1, 17, 9, 1, 8)) -> float:
    """One worker whose context is split over blocks, against the model's own forward in one piece."""
    tokens, blocks, logits = some_tokens(sum(splits)), list[Block](), []
    for count in splits:
        first = sum(len(block) for block in blocks)
        blocks.append(engine.block())
        logits.append(engine.forward([Row(blocks, tokens[first : first + count])], all_positions=True))
    with torch.inference_mode():
        return largest_difference(torch.cat(logits), plain_logits(engine, tokens))


def measured_difference(name: str) -> float:
    """The figure of the support table: the larger of both, in float32."""
    engine = tiny_engine(name)
    return max(chain_difference(engine), ragged_difference(engine))
