"""The support table: which families of models were tried, how, and with what result.

The table does not decide anything. A model is accepted or refused at load by what is measured on it (the probe of
`hogwild.models.probe`, then the engine's self-test), whatever its name; a family that is not listed may well work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["exact", "exact within the original window", "refused"]

TINY = "tiny random model: split blocks against its own forward, ragged rows against the reference"
REFUSED = "tiny random model, or its config: refused at load"


@dataclass(frozen=True)
class Family:
    """One row: what was tried, and what came of it.

    ``difference`` is the largest one of any logit, relative to the largest logit, in float32 (None where refused);
    ``checked`` says how. Regenerate with ``python examples/exactness.py families``.
    """

    name: str
    model_types: tuple[str, ...]
    status: Status
    notes: str
    difference: float | None = None
    checked: str = TINY


def _exact(name: str, types: str, difference: float, notes: str, checked: str = "") -> Family:
    return Family(name, tuple(types.split()), "exact", notes, difference, f"{TINY}; {checked}" if checked else TINY)


def _within(name: str, types: str, difference: float, notes: str) -> Family:
    return Family(name, tuple(types.split()), "exact within the original window", notes, difference)


def _refused(name: str, types: str, why: str) -> Family:
    return Family(name, tuple(types.split()), "refused", why, None, REFUSED)


NO_KEYWORDS = "transformers' code does not hand keyword arguments on to the attention function"
NO_HOOK = "transformers' code has attention of its own that cannot be replaced"
LEARNED = "learned positions"
RECURRENT = "recurrent or linear layers: their state has no positions to turn"

_SMOLLM2 = "SmolLM2-135M: the same 200 greedy tokens as transformers' generate"

# fmt: off
FAMILIES: tuple[Family, ...] = (
    _exact("Llama", "llama", 1.2e-6, "half-split RoPE; Llama 2, TinyLlama, SmolLM2, Yi and more", _SMOLLM2),
    _exact("Llama 3 (llama3 scaling)", "llama", 1.2e-6, "frequencies scaled by part"),
    _exact("Linear RoPE scaling", "llama", 1.1e-6, "all frequencies scaled; tried on Llama"),
    _exact("YaRN scaling", "qwen2", 1.7e-6, "a scale inside cos and sin, applied once; tried on Qwen2"),
    _exact("Mistral", "mistral", 1.2e-6, "sliding window in all layers"),
    _exact("Ministral", "ministral", 1.5e-6, "sliding window by layer"),
    _within("Ministral 3", "ministral3", 1.7e-6, "yarn; beyond the original window it scales queries by position"),
    _exact("Mixtral", "mixtral", 1.9e-6, "mixture of experts, sliding window"),
    _exact("Qwen2", "qwen2", 1.5e-6, "biases on q, k, v; sliding window in the upper layers; Qwen2.5",
           "Qwen2.5-Coder 0.5B and 1.5B: the self-test"),
    _exact("Qwen2-MoE", "qwen2_moe", 8.4e-7, "mixture of experts with a shared one; the window is read off its mask"),
    _exact("Qwen3", "qwen3", 9.6e-7, "norms on q and k"),
    _exact("Qwen3-MoE", "qwen3_moe", 5.9e-7, "mixture of experts"),
    _exact("Gemma", "gemma", 5.2e-7, "one KV head in the small one"),
    _exact("Gemma 2", "gemma2", 4.5e-7, "soft cap on scores, window in every other layer"),
    _exact("Gemma 3", "gemma3_text gemma3", 4.7e-7, "two RoPE bases, windows in five of six layers; text only"),
    _exact("Gemma 3n", "gemma3n_text", 1.4e-6, "upper layers share the keys of lower ones; text only"),
    _exact("Gemma 4", "gemma4_text", 2.5e-6, "two head sizes and RoPE bases, shared keys, windows; text only"),
    _exact("Gemma 4 MoE", "gemma4_text", 2.1e-6, "keys that are values too, experts beside the MLP; text only"),
    _exact("VaultGemma", "vaultgemma", 7e-7, "as Gemma 2"),
    _exact("Phi", "phi", 3.9e-7, "partial RoPE, attention beside the MLP"),
    _exact("Phi-3", "phi3", 1.3e-6, "partial RoPE; Phi-4 mini"),
    _within("Phi-3 long (longrope)", "phi3", 1.6e-6, "beyond the original window it has other frequencies"),
    _exact("Phi-3.5-MoE", "phimoe", 1.2e-6, "mixture of experts; the window is read off its mask"),
    _exact("OLMo", "olmo", 1.1e-6, "norms without weights"),
    _exact("OLMo 2", "olmo2", 6.1e-7, "norms on q and k and behind the layers"),
    _exact("OLMo 3", "olmo3", 6.6e-7, "sliding window in three of four layers"),
    _exact("OLMoE", "olmoe", 1.5e-6, "mixture of experts"),
    _exact("Granite", "granite", 3.5e-6, "a score scale and multipliers of its own; Granite 3"),
    _exact("Granite-MoE", "granitemoe", 4.4e-6, "mixture of experts"),
    _exact("SmolLM3", "smollm3", 1.5e-6, "no RoPE in every fourth layer"),
    _exact("Cohere", "cohere", 6.9e-7, "interleaved RoPE, attention beside the MLP; Command R"),
    _exact("Cohere 2", "cohere2", 1.3e-6, "interleaved RoPE and windows, none of both in every fourth layer"),
    _exact("GLM-4", "glm4", 9.1e-7, "partial, interleaved RoPE"),
    _exact("GLM-4 (9B, 2024)", "glm", 1.6e-6, "partial, interleaved RoPE"),
    _exact("GLM-4.5", "glm4_moe", 1.2e-6, "partial RoPE, mixture of experts"),
    _exact("Ernie 4.5", "ernie4_5", 1.1e-6, "interleaved RoPE"),
    _exact("Ernie 4.5 MoE", "ernie4_5_moe", 1.6e-6, "interleaved RoPE, mixture of experts"),
    _exact("GPT-OSS", "gpt_oss", 1.2e-6, "attention sinks, yarn, window in every other layer, mixture of experts"),
    _exact("DeepSeek V2", "deepseek_v2", 9.4e-7, "MLA: only the last part of a head turns, interleaved"),
    _exact("DeepSeek V3", "deepseek_v3", 1.3e-6, "MLA, yarn, mixture of experts; cached as plain heads"),
    _exact("StarCoder2", "starcoder2", 5.4e-7, "sliding window", "float64: within 1e-9"),
    _exact("GPT-NeoX", "gpt_neox", 4.5e-7, "partial RoPE; Pythia", "float64: within 1e-9"),
    _exact("Persimmon", "persimmon", 8.2e-7, "partial RoPE", "float64: within 1e-9"),
    _exact("EXAONE 4", "exaone4", 9e-7, "window and RoPE in three of four layers"),
    _exact("Seed-OSS", "seed_oss", 1.6e-6, "biases on q, k, v"),
    _exact("HunYuan", "hunyuan_v1_dense", 1e-6, "norms on q and k, after RoPE"),
    _exact("HunYuan-MoE", "hunyuan_v1_moe", 1.3e-6, "norms on q and k, after RoPE; mixture of experts"),
    _exact("Apertus", "apertus", 8.5e-7, "norms on q and k"),
    _exact("Arcee", "arcee", 9.5e-7, "an MLP of its own"),
    _exact("AFMoE", "afmoe", 9.5e-7, "gated attention; RoPE and window by layer; mixture of experts"),
    _exact("Helium", "helium", 1.1e-6, "interleaved RoPE"),
    _exact("BitNet", "bitnet", 1.2e-6, "unquantised weights"),
    _exact("MiniMax-M2", "minimax_m2", 1e-6, "partial RoPE, norms on q and k, mixture of experts"),
    _exact("dots.llm1", "dots1", 1.2e-6, "norms on q and k, mixture of experts"),
    _exact("JetMoE", "jetmoe", 2.2e-6, "mixture of attention heads"),
    _exact("ModernBERT decoder", "modernbert-decoder", 8.9e-7, "two RoPE bases, windows by layer"),
    _exact("nanochat", "nanochat", 7.6e-7, "RoPE that turns the other way"),
    _refused("Dynamic RoPE", "llama", "its angles change as the context grows, so cached keys cannot be moved"),
    _refused("GPT-2", "gpt2", LEARNED),
    _refused("OPT", "opt", LEARNED),
    _refused("GPT-Neo", "gpt_neo", f"{LEARNED}; {NO_HOOK}"),
    _refused("GPT-J", "gptj", "its RoPE is a table of sines: there are no frequencies to identify it by"),
    _refused("CodeGen", "codegen", "as GPT-J"),
    _refused("BLOOM", "bloom", f"ALiBi; {NO_HOOK}"),
    _refused("MPT", "mpt", f"ALiBi; {NO_HOOK}"),
    _refused("Falcon", "falcon", f"RoPE or ALiBi, but {NO_HOOK}"),
    _refused("StableLM", "stablelm", NO_KEYWORDS),
    _refused("Nemotron", "nemotron", NO_KEYWORDS),
    _refused("DiffLlama", "diffllama", "two attentions in a layer"),
    _refused("Doge", "doge", "a mask made from the values"),
    _refused("Llama 4", "llama4_text", "attention in chunks of absolute position"),
    _refused("DeepSeek V3.2", "deepseek_v32", "an indexer chooses which keys are seen"),
    _refused("Mamba", "mamba", RECURRENT),
    _refused("Jamba", "jamba", RECURRENT),
    _refused("Falcon-H1", "falcon_h1", RECURRENT),
    _refused("LFM2", "lfm2", "short convolutions in most layers"),
    _refused("MiniMax-Text-01", "minimax", RECURRENT),
    _refused("Qwen3-Next", "qwen3_next", RECURRENT),
    _refused("Qwen3.5", "qwen3_5_text qwen3_5", RECURRENT),
    _refused("Granite 4 hybrid", "granitemoehybrid", RECURRENT),
    _refused("RecurrentGemma", "recurrent_gemma", RECURRENT),
    _refused("T5", "t5", "encoder-decoders have no single cache that workers could share"),
)
# fmt: on
"""The table, supported families first."""
