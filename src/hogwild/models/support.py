"""What a model's config alone already rules out, and how many positions of it are exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedConfig

from hogwild.errors import ModelUnsupported

ATTENTION_LAYERS = {"full_attention", "sliding_attention"}


def check_config(config: PreTrainedConfig) -> None:
    """Refuse what cannot be exact, before any weight is read. Raises `ModelUnsupported` with the reason."""
    text = config.get_text_config()
    name = config.model_type
    if config.is_encoder_decoder:
        raise ModelUnsupported(f"{name}: encoder-decoders have no single cache that workers could share")
    others = set(getattr(text, "layer_types", None) or ()) - ATTENTION_LAYERS
    if others:
        raise ModelUnsupported(
            f"{name}: layers of type {', '.join(sorted(others))} have no keys that a view could place: "
            "only full and sliding attention can be moved exactly"
        )
    for rope in rope_parameters(text):
        if rope.get("rope_type") == "dynamic":
            raise ModelUnsupported(
                f"{name}: dynamic RoPE changes its angles as the context grows, so cached keys cannot be moved"
            )


def rope_parameters(config: PreTrainedConfig) -> Iterator[dict[str, Any]]:
    """The RoPE settings of a text config: one dict, or one for each type of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    yield from nested or [parameters]


def exact_positions(config: PreTrainedConfig) -> int:
    """How many positions a view may have.

    Beyond the original window, LongRoPE changes all its frequencies and Ministral 3 scales its queries by their
    position: both are exact up to there.
    """
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not positions:
        raise ModelUnsupported(f"{config.model_type}: the config names no max_position_embeddings: no RoPE model")
    for rope in rope_parameters(text):
        if rope.get("rope_type") == "longrope" or rope.get("llama_4_scaling_beta"):
            positions = min(positions, int(rope["original_max_position_embeddings"]))
    return int(positions)
