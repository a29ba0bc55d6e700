"""An engine without a model: blocks, pages and passes are real, and nothing is computed.

A team that runs on it needs somebody else to say what its workers write.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from hogwild.cache import Pool
from hogwild.engine import Engine, Row, passes
from hogwild.engine.prefixes import Prefixes
from hogwild.geometry import Layer
from hogwild.models.parallel import ALONE

_NOTHING = Layer(heads=1, kv_heads=1, key_dim=0, value_dim=1, scale=1.0)


class Rehearsal(Engine):
    """Takes a model's place for a team. Its logits are zeros [n, 1]: nobody may sample from them."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vocab_size: int,
        generation_config: GenerationConfig,
        max_positions: int = 8192,
    ) -> None:
        self.name = "rehearsal"
        self.tokenizer = tokenizer
        self.generation_config = generation_config
        self.vocab_size = vocab_size
        self.max_positions = max_positions
        self.ranks = ALONE
        self.report = None
        self.observer = None
        self.pool = Pool(
            [_NOTHING], 64 * max_positions, dtype=torch.int8, device=self.device, max_positions=max_positions
        )
        self.prefixes = Prefixes(self.pool)

    @property
    def dtype(self) -> torch.dtype:
        """Of a cache that holds nothing."""
        return torch.int8

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def _pass(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        passes.reserve(rows, self.pool)
        for row in rows:
            row.own.commit(row.tokens)
        if self.observer is not None:
            self.observer(rows)
        return torch.zeros(sum(passes.asked(rows, all_positions)), 1)
