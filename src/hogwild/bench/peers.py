"""The same work by others, where they are installed: transformers' ``generate``, llama.cpp, vLLM.

Each gets its strongest way of doing it that is a setting: see the notes, which every table carries.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, StoppingCriteria

from hogwild.bench.llama import LlamaPeer
from hogwild.errors import OptionError
from hogwild.models.load import load_model, parse_dtype

SEED_TOKENS = 256
"""Tokens that transformers' cache is made of."""

PEERS = ("transformers", "llama.cpp", "vllm")
MODULES = {"llama.cpp": "llama_cpp", "vllm": "vllm"}


@dataclass(frozen=True)
class Absent:
    """A peer that takes no part, and why."""

    name: str
    reason: str


def find_peer(
    name: str, model: str, dtype: str | None, gguf: Path | None, seed: int
) -> TransformersPeer | LlamaPeer | VllmPeer | Absent:
    """Load a peer of this name, or say why it is not there. Raises `OptionError` for a name that is none."""
    if name not in PEERS:
        raise OptionError(f"peer {name!r} is unknown: give one of {', '.join(PEERS)}")
    module = MODULES.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        return Absent(name, f"{name} is left out: the Python package {module} is not installed")
    if name == "transformers":
        return TransformersPeer(load_model(model, dtype=parse_dtype(dtype)).model, seed)
    if name == "vllm":
        return VllmPeer(model, dtype, seed)
    if gguf is None:
        return Absent(name, f"{name} is left out: no GGUF file was given")
    return LlamaPeer(gguf, seed)


class TransformersPeer:
    """``model.generate`` with a batch, its own cache and its own sdpa attention."""

    note = "generate, sdpa, DynamicCache; the context's cache is made by repeating that of a few hundred tokens"

    def __init__(self, model: PreTrainedModel, seed: int) -> None:
        self.name = f"transformers {str(model.dtype).removeprefix('torch.')}"
        self.model = model
        self._generator = torch.Generator().manual_seed(seed)
        self._ids = torch.empty(0, dtype=torch.int64)
        self._cache: Any = None
        model.set_attn_implementation("sdpa")

    @torch.inference_mode()
    def prepare(self, context: int, workers: int) -> None:
        """A cache of ``context - 1`` tokens for each sequence; the last token is the first that is fed."""
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        self._ids = torch.randint(vocabulary, (1, context), generator=self._generator).expand(workers, -1)
        self._cache = DynamicCache(config=self.model.config)
        plain = all(not getattr(layer, "is_sliding", False) for layer in self._cache.layers)
        first = min(context - 1, SEED_TOKENS) if plain else context - 1
        self.model(self._ids[:1, :first].to(self.model.device), use_cache=True, **self._argument(self._cache))
        if plain:
            for layer in self._cache.layers:
                layer.keys, layer.values = (_repeat(part, context - 1) for part in (layer.keys, layer.values))
        self._cache.batch_repeat_interleave(workers)

    def seconds(self, passes: int) -> list[float]:
        """The time between each two tokens of one call of ``generate``; its start is not counted."""
        clock = _Clock()
        cache = copy.deepcopy(self._cache)
        settings = GenerationConfig(
            max_new_tokens=passes + 1, do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0
        )
        self.model.generate(
            self._ids.to(self.model.device),
            attention_mask=torch.ones_like(self._ids).to(self.model.device),
            generation_config=settings,
            stopping_criteria=[clock],
            **self._argument(cache),
        )
        return [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]

    def _argument(self, cache: Any) -> dict[str, Any]:
        """The cache under the name that this version of transformers has for it."""
        named = "cache" in inspect.signature(self.model.forward).parameters
        return {"cache" if named else "past_key_values": cache}

    def release(self) -> None:
        """Drop the cache."""
        self._cache = None


class _Clock(StoppingCriteria):  # type: ignore[misc] # transformers is not followed
    """Notes when each token is there, and stops nothing."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _repeat(tensor: Tensor, length: int) -> Tensor:
    """[1, K, n, D] to [1, K, length, D]."""
    return tensor.repeat(1, 1, -(-length // tensor.shape[2]), 1)[:, :, :length]


class VllmPeer:
    """vLLM's ``LLM.generate`` with its prefix cache on. Never run by this project's own tests: see the docs."""

    note = "LLM.generate with prefix caching; time of passes + 1 tokens less that of one"

    def __init__(self, model: str, dtype: str | None, seed: int) -> None:
        self.name = "vllm"
        self._vllm = importlib.import_module("vllm")
        self._llm = self._vllm.LLM(model=model, dtype=dtype or "auto", seed=seed, enable_prefix_caching=True)
        self._prompts: list[dict[str, list[int]]] = []

    def prepare(self, context: int, workers: int) -> None:
        """The prompts; the first call fills the prefix cache."""
        tokens = [3 + index % 997 for index in range(context)]
        self._prompts = [{"prompt_token_ids": tokens} for _ in range(workers)]
        self._generate(1)

    def seconds(self, passes: int) -> list[float]:
        """The mean, once for each pass: single ones cannot be timed from outside."""
        base = self._generate(1)
        return [max(self._generate(passes + 1) - base, 0.0) / passes] * passes

    def release(self) -> None:
        """Nothing: vLLM's cache looks after itself."""

    def _generate(self, tokens: int) -> float:
        settings = self._vllm.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
        start = time.perf_counter()
        self._llm.generate(self._prompts, settings, use_tqdm=False)
        return time.perf_counter() - start
