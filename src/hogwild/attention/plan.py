"""The plan of a pass: which slots each new token reads, at which positions. Made once, it serves every layer.

All rows of a pass are packed into one sequence of T tokens. For a row and a block of its view, the query's extra
rotation is ``start of its own block - start of that block``: the model has already turned the query by its offset
inside its own block, and turned each key by the key's offset inside its block (paper, section 3.2; rotations
compose). It does not depend on the token, so it is one number for a (row, block).

Legend: T new tokens, C columns (one for each key that some row reads), P (token, block) pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hogwild.cache import Block
from hogwild.geometry import Rotary, Rotation


@dataclass(frozen=True)
class Reading:
    """One row of a pass: it reads ``view`` and has just appended ``count`` tokens to the last block of it.

    ``lengths`` are those of the view's blocks after all rows of the pass have appended.
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

    Tokens between ``first_token`` and ``last_token`` that do not read it are hidden by the bias.
    """

    first_slot: int
    last_slot: int  # exclusive, as all "last" here
    first_token: int
    last_token: int
    column: int  # of its first slot
    pair: int  # of its first token

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
        return Span(self.first_slot, self.last_slot, begin, end, self.column, pair)


@dataclass(frozen=True)
class Sight:
    """What the tokens of a pass see under one window: the spans, and a bias that hides the rest."""

    spans: tuple[Span, ...]
    columns: int
    bias: Tensor | None  # [T, C], 0 or -inf; None when every token sees every column


class Plan:
    """Everything that attention needs to know of a pass, but for the queries, keys and values.

    Attributes: ``positions`` [T], each token's offset in its own block, which is what the model is given;
    ``slots`` [T], where its key and value go; ``pair_tokens`` [P] and ``pair_offsets`` [P], the token and the
    extra rotation of each pair; ``rotates``, whether any of these is not 0; ``readings``, the rows themselves.
    """

    def __init__(self, readings: Sequence[Reading], slots: Tensor) -> None:
        self.readings = tuple(readings)
        self.slots = slots
        self.device = slots.device
        self._own_positions = [range(row.lengths[-1] - row.count, row.lengths[-1]) for row in readings]
        self.positions = torch.tensor([p for span in self._own_positions for p in span], device=self.device)
        self._bounds = np.cumsum([0] + [row.count for row in readings])  # of each row's tokens
        self._readers = self._find_readers()
        self._lay_pairs()
        self._sights: dict[int | None, Sight] = {}
        self._rotations: dict[tuple[Rotary, int, torch.dtype], Rotation] = {}

    @property
    def tokens(self) -> int:
        """T, the number of new tokens."""
        return int(self._bounds[-1])

    def _find_readers(self) -> dict[int, list[tuple[int, int]]]:
        """For each block (by identity): the rows that read it, with its index in their view."""
        readers: dict[int, list[tuple[int, int]]] = {}
        for row, reading in enumerate(self.readings):
            for index, block in enumerate(reading.view):
                if reading.lengths[index]:
                    readers.setdefault(id(block), []).append((row, index))
        return readers

    def _lay_pairs(self) -> None:
        tokens, offsets, self._first_pair = [], [], dict[int, int]()
        total = 0
        for block, rows in self._readers.items():
            first, last = self._token_range(rows)
            extra = np.zeros(last - first, dtype=np.int64)
            for row, index in rows:
                starts = self.readings[row].starts
                extra[self._bounds[row] - first : self._bounds[row + 1] - first] = starts[-1] - starts[index]
            self._first_pair[block] = total
            total += last - first
            tokens.append(np.arange(first, last))
            offsets.append(extra)
        self.pair_tokens = torch.from_numpy(np.concatenate(tokens)).to(self.device)
        self.pair_offsets = torch.from_numpy(np.concatenate(offsets))
        self.rotates = bool(self.pair_offsets.any())

    def _token_range(self, rows: list[tuple[int, int]]) -> tuple[int, int]:
        return int(self._bounds[rows[0][0]]), int(self._bounds[rows[-1][0] + 1])

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
        spans, parts, column = list[Span](), list[np.ndarray](), 0
        for block, rows in self._readers.items():
            reading, index = self.readings[rows[0][0]], rows[0][1]
            length = reading.lengths[index]
            nearest = min(self._oldest_seen(row, index, window) for row, index in rows)
            if nearest >= length:
                continue  # the whole block has left the window of every row
            first, last = self._token_range(rows)
            # Whole pages are read: a matrix product compiles itself for every new shape, at the cost of a megabyte and
            # of more time than the product, and so sizes are multiples of a page. The bias hides the rest.
            size = reading.view[index].pool.page_size
            first_page, last_page = nearest // size, -(-length // size)
            parts.append(self._visible(rows, np.arange(first_page * size, last_page * size), length, window))
            for begin, end in reading.view[index].runs(first_page, last_page):
                spans.append(Span(begin, end, first, last, column, self._first_pair[block]))
                column += end - begin
        visible = np.concatenate(parts, axis=1)
        if visible.all():
            return Sight(tuple(spans), column, None)
        bias = np.where(visible, np.float32(0), np.float32("-inf"))
        return Sight(tuple(spans), column, torch.from_numpy(bias).to(self.device))

    def _oldest_seen(self, row: int, index: int, window: int | None) -> int:
        """The first offset in a block that any token of the row sees."""
        if window is None:
            return 0
        starts = self.readings[row].starts
        oldest_token = starts[-1] + self._own_positions[row].start
        return max(0, oldest_token - window + 1 - starts[index])

    def _visible(self, rows: list[tuple[int, int]], offsets: np.ndarray, length: int, window: int | None) -> np.ndarray:
        """Which of all T tokens see which offsets of a block that has ``length`` tokens, bool [T, offsets]."""
        seen = np.zeros((self.tokens, len(offsets)), dtype=bool)
        for row, index in rows:
            starts, own = self.readings[row].starts, np.array(self._own_positions[row])
            part = seen[self._bounds[row] : self._bounds[row + 1]]
            part[:] = offsets < length
            if index == len(starts) - 1:
                part &= offsets[None, :] <= own[:, None]
            if window is not None:
                part &= starts[index] + offsets[None, :] > starts[-1] + own[:, None] - window
        return seen
