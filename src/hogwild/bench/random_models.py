"""Models with random weights, made where they are to run: what a card can do is found without a download."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from hogwild.errors import OptionError

_SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 2048,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}

SHAPES: dict[str, dict[str, Any]] = {
    "small-64": {**_SMALL, "hidden_size": 384, "head_dim": 64},
    "small-128": {**_SMALL, "hidden_size": 384, "head_dim": 128},
    "1.5b": {  # as Qwen2.5-1.5B
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
    },
    "8b": {  # as Qwen3-8B
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": False,
    },
}
"""Configurations by name: two small ones to compare with, and two as large as models that people use, to time."""

SHARP = 0.15
"""The deviation of a small model's weights: wide enough that what attention reads, and from where, shows."""


def random_model(shape: str, dtype: torch.dtype, device: torch.device, seed: int = 0) -> PreTrainedModel:
    """A model of one of `SHAPES` with weights that are drawn on ``device``. Raises `OptionError` for another name."""
    if shape not in SHAPES:
        raise OptionError(f"shape is {shape!r}: give one of {', '.join(SHAPES)}")
    config = AutoConfig.for_model(**SHAPES[shape])
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    if shape.startswith("small"):
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=SHARP)
    model.config.name_or_path = f"random {shape}"
    return model
