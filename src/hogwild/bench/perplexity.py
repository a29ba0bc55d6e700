"""Perplexity of two engines on the same tokens, so that a faster one is not a worse one unseen.

The text is a part of Python's own documentation, which comes with every Python: ``pydoc_data.topics``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pydoc_data.topics import topics
from typing import Any

import torch
from torch import Tensor

from hogwild.engine import Engine, Row
from hogwild.errors import OptionError

WINDOW = 512
"""Tokens that are read from nothing, together."""

Logits = Callable[[Sequence[int]], Tensor]
"""From tokens to the logits after each of them, float32 [tokens, vocabulary]."""


def reference_tokens(tokenizer: Any, count: int) -> list[int]:
    """The first ``count`` tokens of the text. Raises `OptionError` where there are not so many."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    tokens: list[int] = tokenizer(text[: 12 * count], add_special_tokens=False)["input_ids"][:count]
    if len(tokens) < count:
        raise OptionError(f"count is {count}, but the text has {len(tokens)} tokens: ask for fewer")
    return tokens


def perplexity(logits: Logits, tokens: Sequence[int], window: int = WINDOW) -> float:
    """The perplexity of every token but the first of each ``window``."""
    loss, count = 0.0, 0
    for first in range(0, len(tokens) - 1, window):
        part = tokens[first : first + window]
        if len(part) < 2:
            break
        found = logits(part)[: len(part) - 1]
        wanted = torch.tensor(part[1:], device=found.device)
        loss += torch.nn.functional.cross_entropy(found, wanted, reduction="sum").item()
        count += len(part) - 1
    return math.exp(loss / count)


def engine_logits(engine: Engine) -> Logits:
    """Our engine as a function from tokens to logits."""

    def logits(tokens: Sequence[int]) -> Tensor:
        block = engine.block()
        try:
            return engine.forward([Row([block], tokens)], all_positions=True)
        finally:
            block.free()

    return logits
