"""What a pass tells the kernels, in memory that stays where it is: so a pass can be recorded once and replayed.

A CUDA graph replays launches with the addresses and sizes that they had when it was recorded. So all that changes from
pass to pass is copied into buffers, whose sizes are those of a *bucket*, and buckets are few. What fills it up does
nothing: splits without tokens, and tokens that read nothing and write to slots which nobody reads. The numbers are put
together in memory that the GPU can copy from by itself, and go over at once; the rotations are made over there.

Legend: see `hogwild.attention.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hogwild.attention.tables import SPLIT_FIELDS, Tables
from hogwild.attention.triton_path import ALIGNED, DeviceTables, Kind, Turner, borders_of, numbers_of

STEP = 64
FEWEST_BLOCKS = 8
FEWEST_PAGES = 256


@dataclass(frozen=True)
class Bucket:
    """A size of buffers: new tokens, blocks that are read, their pages and pairs: a few of all that might be.

    ``wanted_splits`` and ``tile_tokens`` are those of `make_tables`.
    """

    tokens: int
    blocks: int
    pages: int
    pairs: int
    wanted_splits: int
    tile_tokens: int

    @classmethod
    def holding(cls, tokens: int, blocks: int, pages: int, pairs: int, wanted_splits: int, tile_tokens: int) -> Bucket:
        """The smallest that holds so much. Most are powers of 2; pages, which cost nothing but a copy, are powers of 4,
        and of more than `STEP` tokens, which the whole model works on, the next multiple is taken.
        """
        tokens = next_power(tokens) if tokens <= STEP else -(-tokens // STEP) * STEP
        blocks = next_power(max(blocks, FEWEST_BLOCKS))
        pages = FEWEST_PAGES if pages <= FEWEST_PAGES else 1 << -(-(pages - 1).bit_length() // 2) * 2
        pairs = next_power(max(pairs, 4 * tokens, blocks))
        return cls(tokens, blocks, pages, pairs, wanted_splits, tile_tokens)

    @property
    def splits(self) -> int:
        """The most splits that `make_tables` makes."""
        return self.wanted_splits + self.blocks

    @property
    def entries(self) -> int:
        """The most entries that these leave behind."""
        return min(self.splits * self.tokens, self.pairs + self.wanted_splits * self.tile_tokens)


def next_power(number: int) -> int:
    """The smallest power of 2 that is not below ``number``."""
    return 1 << max(number - 1, 0).bit_length()


class Buffers:
    """The inputs of a pass on the device. `fill` copies those of another pass in; no tensor is ever replaced.

    Attributes: ``ids`` and ``positions`` [1, tokens], for the model; ``slots`` [tokens], where keys and values go;
    ``last`` [tokens], of each row its last token; ``tables``, for the kernels: their rotations `turn` makes.
    """

    def __init__(
        self, bucket: Bucket, kinds: Iterable[Kind], spare: Tensor, page_size: int, device: torch.device
    ) -> None:
        self.bucket = bucket
        self._spare = spare.numpy()
        self._sizes = (
            bucket.pages,
            bucket.splits * SPLIT_FIELDS,
            *[bucket.pairs] * 3,
            bucket.entries,
            bucket.tokens + 1,
        )
        self._firsts = borders_of(self._sizes)
        wide, narrow = 4 * bucket.tokens + bucket.pairs, self._firsts[-1]  # of int64, of int32
        wide = -(-wide // ALIGNED) * ALIGNED
        self._host = torch.zeros(8 * wide + 4 * narrow, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        self._wide, self._narrow = (
            self._host[: 8 * wide].view(torch.int64).numpy(),
            self._host[8 * wide :].view(torch.int32).numpy(),
        )
        self._numbers = torch.zeros_like(self._host, device=device)
        of_tokens, of_pairs = (
            self._numbers[: 8 * wide]
            .view(torch.int64)[: 4 * bucket.tokens + bucket.pairs]
            .split([4 * bucket.tokens, bucket.pairs])
        )
        ids, positions, self.last, self.slots = of_tokens.view(4, bucket.tokens)
        self.ids, self.positions, self._offsets = ids[None], positions[None], of_pairs
        self._turners = {kind: Turner(kind, device) for kind in kinds}
        self.tables = self._tables(self._numbers[8 * wide :].view(torch.int32), page_size)

    def _tables(self, numbers: Tensor, page_size: int) -> DeviceTables:
        parts = [numbers[first : first + size] for first, size in zip(self._firsts, self._sizes, strict=False)]
        return DeviceTables(
            pages=parts[0],
            splits=parts[1].view(-1, SPLIT_FIELDS),
            turns=parts[2],
            places=parts[3],
            ends=parts[4],
            merged=parts[5],
            borders=parts[6],
            rotations={kind: turner(self._offsets) for kind, turner in self._turners.items()},
            page_size=page_size,
            entries=self.bucket.entries,
            most_tokens=self.bucket.tokens,
            rotates=True,
        )

    def fill(self, tables: Tables, ids: Sequence[int], positions: Tensor, slots: Tensor, last: Sequence[int]) -> None:
        """Copy a pass in: its tables, and of its tokens the ids, positions, slots and the last one of each row."""
        if self._copied is not None:
            self._copied.synchronize()  # what was put together for the pass before has been fetched
        self._narrow[:], self._wide[:] = 0, 0
        for first, part in zip(self._firsts, numbers_of(tables), strict=False):
            self._narrow[first : first + part.size] = part
        borders = self._narrow[self._firsts[-2] :][: self.bucket.tokens + 1]
        borders[len(tables.borders) :] = tables.borders[-1]  # the others have no entries
        of_tokens = self._wide[: 4 * self.bucket.tokens].reshape(4, -1)
        of_tokens[0, : len(ids)], of_tokens[1, : len(ids)] = ids, positions.numpy()
        of_tokens[2, : len(last)] = last
        of_tokens[3] = np.resize(self._spare, self.bucket.tokens)
        of_tokens[3, : len(ids)] = slots.numpy()
        self._wide[4 * self.bucket.tokens :][: len(tables.offsets)] = tables.offsets
        self._numbers.copy_(self._host, non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def turn(self) -> None:
        """Make the rotations of the pass that was copied in. A part of what is recorded, as it asks the CPU nothing."""
        for kind, turner in self._turners.items():
            made, turns = turner(self._offsets), self.tables.rotations[kind]
            turns.cos.copy_(made.cos)
            turns.sin.copy_(made.sin)
