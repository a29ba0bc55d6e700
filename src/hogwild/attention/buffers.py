"""What a pass tells the kernels, in memory that stays where it is: so a pass can be recorded once and replayed.

A CUDA graph replays launches with the addresses and sizes that they had when it was recorded. So all that changes from
pass to pass is copied into buffers, whose sizes are those of a *bucket*: a few powers of 2. What fills a bucket up does
nothing: splits without tokens, and tokens that read nothing and write to slots which nobody reads.

Legend: see `hogwild.attention.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hogwild.attention.tables import SPLIT_FIELDS, Tables
from hogwild.attention.triton_path import DeviceTables, Kind, Turns, make_turns

FEWEST_BLOCKS = 4
FEWEST_PAGES = 64


@dataclass(frozen=True)
class Bucket:
    """A size of buffers: new tokens, blocks that are read and their pages, all powers of 2; and the splits wanted."""

    tokens: int
    blocks: int
    pages: int
    wanted_splits: int

    @classmethod
    def holding(cls, tokens: int, blocks: int, pages: int, wanted_splits: int) -> Bucket:
        """The smallest that holds so much."""
        blocks, pages = max(blocks, FEWEST_BLOCKS), max(pages, FEWEST_PAGES)
        return cls(next_power(tokens), next_power(blocks), next_power(pages), wanted_splits)

    @property
    def pairs(self) -> int:
        """The most pairs of a token and a block."""
        return self.tokens * self.blocks

    @property
    def splits(self) -> int:
        """The most splits that `make_tables` makes."""
        return self.wanted_splits + self.blocks


def next_power(number: int) -> int:
    """The smallest power of 2 that is not below ``number``."""
    return 1 << max(number - 1, 0).bit_length()


class Buffers:
    """The inputs of a pass on the device. `fill` copies those of another pass in; no tensor is ever replaced.

    Attributes: ``ids`` and ``positions`` [1, tokens], for the model; ``slots`` [tokens], where keys and values go;
    ``last`` [tokens], of each row its last token; ``tables``, for the kernels.
    """

    def __init__(self, bucket: Bucket, kinds: Iterable[Kind], spare: Tensor, page_size: int) -> None:
        self.bucket = bucket
        self._spare = spare[:1].expand(bucket.tokens) if len(spare) < bucket.tokens else spare[: bucket.tokens]
        device = spare.device
        self._sizes = (bucket.pages, bucket.splits * SPLIT_FIELDS, bucket.pairs, bucket.pairs, bucket.pairs)
        self._numbers = torch.zeros(sum(self._sizes), dtype=torch.int32, device=device)
        self._tokens = torch.zeros(4, bucket.tokens, dtype=torch.int64, device=device)
        self.ids, self.positions = self._tokens[:1], self._tokens[1:2]
        self.last, self.slots = self._tokens[2], self._tokens[3]
        pages, splits, turns, places, ends = self._numbers.split(self._sizes)
        nothing = torch.zeros(bucket.pairs, dtype=torch.int64)
        self.tables = DeviceTables(
            pages=pages,
            splits=splits.view(-1, SPLIT_FIELDS),
            turns=turns,
            places=places,
            ends=ends,
            rotations={kind: make_turns(kind, nothing, device) for kind in kinds},
            page_size=page_size,
            entries=bucket.splits * bucket.tokens,
            most_tokens=bucket.tokens,
            rotates=True,
        )

    def fill(self, tables: Tables, ids: Sequence[int], positions: Tensor, slots: Tensor, last: Sequence[int]) -> None:
        """Copy a pass in: its tables, and of its tokens the ids, positions, slots and the last one of each row."""
        numbers = np.zeros(len(self._numbers), dtype=np.int32)
        parts = (tables.pages, tables.splits.reshape(-1), tables.turns, tables.places, tables.ends)
        for first, part in zip(np.cumsum((0, *self._sizes)), parts, strict=False):
            numbers[first : first + part.size] = part
        self._numbers.copy_(torch.from_numpy(numbers))
        tokens = torch.zeros(3, self.bucket.tokens, dtype=torch.int64)
        tokens[0, : len(ids)], tokens[2, : len(last)] = torch.tensor(ids), torch.tensor(last)
        self._tokens[:3].copy_(tokens)
        self.positions[0, : len(ids)].copy_(positions)
        self.slots.copy_(self._spare)
        self.slots[: len(ids)].copy_(slots)
        offsets = torch.from_numpy(tables.offsets)
        for kind, turns in self.tables.rotations.items():
            _overwrite(turns, make_turns(kind, offsets, turns.cos.device))


def _overwrite(turns: Turns, by: Turns) -> None:
    """Replace the first rotations; nothing refers to those behind them."""
    turns.cos[: len(by.cos)].copy_(by.cos)
    turns.sin[: len(by.sin)].copy_(by.sin)
