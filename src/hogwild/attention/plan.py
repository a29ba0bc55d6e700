"""The plan of a pass: which slots each new token reads, at which positions. Made once, it serves every layer.

All rows of a pass are packed into one sequence of T tokens. For a row and a block of its view, the query's extra
rotation is ``start of its own block - start of that block``: the model has already turned the query by its offset
inside its own block, and turned each key by the key's offset inside its block (paper, section 3.2; rotations
compose). It does not depend on the token, so it is one number for a (row, block).

Legend: T new tokens, C columns (one for each key that some row reads), P (token, block) pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hogwild.cache import Block
from hogwild.geometry import Rotary, Rotation


@dataclass(frozen=True)
class Reading:
    """One row of a pass: it reads ``view`` and has just appended ``count`` tokens to the last block of it.

    ``lengths`` are those of the view's blocks after all rows of the pass have appended, as far as this row may see.
    """

    view: tuple[Block, ...]
    lengths: tuple[int, ...]
    count: int

    @property
    def starts(self) -> list[int]:
        """The position of each block's first token in this view."""
        return [sum(self.lengths[:index]) for index in range(len(self.lengths))]


@dataclass(frozen=True)
class Span:
    """A run of neighbouring slots, and the tokens that read it.

    What a token between ``first_token`` and ``last_token`` does not see of it, `Sight.low` and `Sight.high` tell.
    """

    first_slot: int
    last_slot: int  # exclusive, as all "last" here
    first_token: int
    last_token: int
    column: int  # of its first slot
    pair: int  # of its first token
    offset: int  # of its first slot in its block

    @property
    def last_column(self) -> int:
        """One past the column of its last slot."""
        return self.column + self.last_slot - self.first_slot

    def clip(self, first: int, last: int) -> Span | None:
        """The same span for the tokens ``first`` to ``last`` only, or None where none of them reads it."""
        begin, end = max(first, self.first_token), min(last, self.last_token)
        if begin >= end:
            return None
        pair = self.pair + begin - self.first_token
        return replace(self, first_token=begin, last_token=end, pair=pair)


@dataclass(frozen=True)
class Sight:
    """What the tokens of a pass see under one window: of each block an interval, in whole pages for each span."""

    tokens: int
    columns: int
    spans: tuple[Span, ...]
    low: np.ndarray  # [P] int32: of its block, the pair's token sees the offsets from here
    high: np.ndarray  # [P] int32: to here, exclusive; not above `low` where it sees nothing
    device: torch.device

    def clipped(self, first: int, last: int) -> Sequence[Span]:
        """The spans that the tokens ``first`` to ``last`` read, for these only: all as they are, for all tokens."""
        if (first, last) == (0, self.tokens):
            return self.spans
        return [clipped for span in self.spans if (clipped := span.clip(first, last))]

    @cached_property
    def bias(self) -> Tensor | None:
        """0 where a token sees a column and -inf where not [T, C]; None when every token sees every column."""
        visible = np.zeros((self.tokens, self.columns), dtype=bool)
        for span in self.spans:
            pairs = slice(span.pair, span.pair + span.last_token - span.first_token)
            offsets = np.arange(span.offset, span.offset + span.last_slot - span.first_slot)[None, :]
            seen = (offsets >= self.low[pairs, None]) & (offsets < self.high[pairs, None])
            visible[span.first_token : span.last_token, span.column : span.last_column] = seen
        if visible.all():
            return None
        return torch.from_numpy(np.where(visible, np.float32(0), np.float32("-inf"))).to(self.device)


@dataclass(frozen=True)
class Readers:
    """A block, and the tokens from the first to the last that reads it: one pair each, from ``pair`` on."""

    block: Block
    rows: tuple[tuple[int, int], ...]  # the rows that read it, and the block's index in their views
    first_token: int
    last_token: int
    pair: int

    @property
    def tokens(self) -> int:
        """How many tokens, and pairs, there are."""
        return self.last_token - self.first_token

    @property
    def pairs(self) -> slice:
        """Which pairs they are."""
        return slice(self.pair, self.pair + self.tokens)


def ranges(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``firsts[0]`` and so many numbers from there on, then those from ``firsts[1]`` on, and so forth: int64."""
    behind = np.cumsum(counts)
    numbers: np.ndarray = np.arange(behind[-1]) + np.repeat(firsts - (behind - counts), counts)
    return numbers


class Plan:
    """Everything that attention needs to know of a pass, but for the queries, keys and values.

    Attributes: ``positions`` [T], each token's offset in its own block, which is what the model is given;
    ``slots`` [T], where its key and value go; ``pair_tokens`` [P] and ``pair_offsets`` [P], the token and the
    extra rotation of each pair; ``rotates``, whether any of these is not 0; ``readings``, the rows themselves;
    ``on_cpu``, positions and slots where they were made (the others, but for ``pair_offsets``, are on ``device``);
    ``bounds`` [rows + 1], where the tokens of each row begin; ``readers``, the blocks that are read, in the order of
    their pairs; ``places`` [P], where the token stands, counted from the block's first one; ``ends`` [P], one past the
    last offset of its block that the token sees, 0 where it does not read it (both int64, without any window);
    ``shared``, what else is worth making once a pass, by whoever needs it.
    """

    def __init__(self, readings: Sequence[Reading], slots: Tensor) -> None:
        self.readings = tuple(readings)
        self.device = readings[0].view[-1].pool.device
        self.bounds = [0, *accumulate(row.count for row in readings)]  # of each row's tokens
        own = [np.arange(row.lengths[-1] - row.count, row.lengths[-1]) for row in readings]
        self.on_cpu = (torch.from_numpy(np.concatenate(own)), slots.cpu())
        self.readers = list[Readers]()
        self._lay_pairs(own)
        self._sights: dict[int | None, Sight] = {}
        self._rotations: dict[tuple[Rotary, int, torch.dtype], Rotation] = {}
        self.shared: dict[object, Any] = {}

    @property
    def tokens(self) -> int:
        """T, the number of new tokens."""
        return self.bounds[-1]

    @cached_property
    def positions(self) -> Tensor:
        """See `Plan`; as the next two, copied to the device when first asked for."""
        return self.on_cpu[0].to(self.device)

    @cached_property
    def slots(self) -> Tensor:
        """See `Plan`."""
        return self.on_cpu[1].to(self.device)

    @cached_property
    def pair_tokens(self) -> Tensor:
        """See `Plan`."""
        return self._pair_tokens.to(self.device)

    def _lay_pairs(self, own: list[np.ndarray]) -> None:
        """Number the pairs block by block. ``own`` are the offsets of each row's tokens in their own block."""
        rows_of: dict[int, list[tuple[int, int]]] = {}  # of each block: the rows that read it, and where in their view
        for row, reading in enumerate(self.readings):
            for index, block in enumerate(reading.view):
                if reading.lengths[index]:
                    rows_of.setdefault(id(block), []).append((row, index))
        starts, total = [reading.starts for reading in self.readings], 0
        # Of each (row, block): its first pair, its row, the extra rotation, and the length, 0 for the row's own block.
        found = list[tuple[int, int, int, int]]()
        for rows in rows_of.values():
            first, last = self.bounds[rows[0][0]], self.bounds[rows[-1][0] + 1]
            block = self.readings[rows[0][0]].view[rows[0][1]]
            self.readers.append(Readers(block, tuple(rows), first, last, total))
            for row, index in rows:
                reading, extra = self.readings[row], starts[row][-1] - starts[row][index]
                is_own = index == len(reading.view) - 1
                length = 0 if is_own else reading.lengths[index]
                found.append((total + self.bounds[row] - first, row, extra, length))
            total += last - first
        self._fill_pairs(np.array(found), np.concatenate(own), total)

    def _fill_pairs(self, found: np.ndarray, own: np.ndarray, total: int) -> None:
        """The numbers of all pairs, for many (row, block) at a time. ``own``: of each token its offset in its block."""
        bounds = np.array(self.bounds)
        counts = np.diff(bounds)[found[:, 1]]
        pairs, tokens = ranges(found[:, 0], counts), ranges(bounds[found[:, 1]], counts)
        extra, lengths = (np.repeat(found[:, column], counts) for column in (2, 3))
        extras, self.places, self.ends = (np.zeros(total, dtype=np.int64) for _ in range(3))
        extras[pairs], self.places[pairs] = extra, extra + own[tokens]
        self.ends[pairs] = np.where(lengths > 0, lengths, own[tokens] + 1)
        read = np.array([(readers.first_token, readers.tokens) for readers in self.readers])
        self._pair_tokens = torch.from_numpy(ranges(read[:, 0], read[:, 1]))
        self.pair_offsets = torch.from_numpy(extras)
        self.rotates = bool(extras.any())

    def sight(self, window: int | None) -> Sight:
        """What is seen by layers whose tokens see the last ``window`` positions (None: all)."""
        if window not in self._sights:
            self._sights[window] = self._see(window)
        return self._sights[window]

    def rotation(self, rotary: Rotary, head_dim: int, dtype: torch.dtype) -> Rotation:
        """The extra rotation of all pairs, shared by all layers of one RoPE type."""
        key = (rotary, head_dim, dtype)
        if key not in self._rotations:
            self._rotations[key] = rotary.rotation(self.pair_offsets, head_dim, dtype, self.device)
        return self._rotations[key]

    def _see(self, window: int | None) -> Sight:
        low = np.zeros_like(self.ends) if window is None else np.maximum(self.places - window + 1, 0)
        spans, column = list[Span](), 0
        for readers in self.readers:
            seen_from, seen_to = low[readers.pairs], self.ends[readers.pairs]
            seeing = seen_from < seen_to
            if not seeing.any():
                continue  # the whole block has left the window of every row
            # Whole pages are read: a matrix product compiles itself for every new shape, at the cost of a megabyte and
            # of more time than the product, and so sizes are multiples of a page.
            size = readers.block.pool.page_size
            first_page, last_page = int(seen_from[seeing].min()) // size, -(-int(seen_to[seeing].max()) // size)
            offset = first_page * size
            for begin, end in readers.block.runs(first_page, last_page):
                spans.append(Span(begin, end, readers.first_token, readers.last_token, column, readers.pair, offset))
                column, offset = column + end - begin, offset + end - begin
        return Sight(self.tokens, column, tuple(spans), low.astype(np.int32), self.ends.astype(np.int32), self.device)
