"""A plan as integer tables, for kernels that read pages: which pages, for which tokens, which offsets are visible.

A *pair* is a (token, block): the tokens of all rows that read a block, from the first to the last of them, are its
pairs, so that a kernel finds pair and token by adding. A *split* is a part of a block's pages that one program reads
for all pairs of the block; an *entry* is what a split leaves behind for one pair, to be merged.

Legend: T new tokens, P pairs, S splits, N pages, U different extra rotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hogwild.attention.plan import Plan, Reading
from hogwild.cache import Block

Ints = npt.NDArray[np.int32]

FIRST_PAGE, BEGIN, END, FIRST_TOKEN, TOKENS, FIRST_PAIR, FIRST_ENTRY, SPLIT_FIELDS = range(8)
"""The fields of a split: where its block's pages begin in the table of pages, the block offsets that it reads (END is
exclusive), its tokens, its first pair and its first entry."""


@dataclass(frozen=True)
class Seen:
    """A block and the rows that read it: their numbers, and the block's index in their views."""

    block: Block
    length: int  # the longest that any of them sees
    readers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tables:
    """The tables of one pass, on the CPU. They hold for every layer, whatever its window."""

    tokens: int
    page_size: int
    pages: Ints  # [N], the pages of the blocks, one block after the other
    splits: Ints  # [S, SPLIT_FIELDS]
    turns: Ints  # [P], which of `offsets` turns the query of the pair
    offsets: npt.NDArray[np.int64]  # [U], in positions
    places: Ints  # [P], where the token stands, in offsets of the block: a window of w shows places - w + 1 and after
    ends: Ints  # [P], one past the last visible offset; where a token does not read the block: 0

    @property
    def entries(self) -> int:
        """How many entries all splits leave behind."""
        return int(self.splits[:, TOKENS].sum())

    @property
    def most_tokens(self) -> int:
        """The most tokens that read one block."""
        return int(self.splits[:, TOKENS].max())

    @property
    def rotates(self) -> bool:
        """Whether any query still has to turn."""
        return bool(self.offsets.any())


def blocks_of(readings: Sequence[Reading]) -> list[Seen]:
    """Every block that some row reads and that holds a token, in the order of first appearance."""
    blocks, readers, lengths = dict[int, Block](), dict[int, list[tuple[int, int]]](), dict[int, int]()
    for row, reading in enumerate(readings):
        for index, (block, length) in enumerate(zip(reading.view, reading.lengths, strict=True)):
            if length:
                blocks[id(block)] = block
                readers.setdefault(id(block), []).append((row, index))
                lengths[id(block)] = max(length, lengths.get(id(block), 0))
    return [Seen(block, lengths[key], tuple(readers[key])) for key, block in blocks.items()]


def make_tables(plan: Plan, wanted_splits: int) -> Tables:
    """The tables of ``plan``, with about ``wanted_splits`` splits: at least one a block, and no more than that more."""
    seen, bounds = blocks_of(plan.readings), token_bounds(plan.readings)
    size = seen[0].block.pool.page_size
    page_counts = [-(-one.length // size) for one in seen]
    pages_a_split = max(1, -(-sum(page_counts) // wanted_splits))
    splits, first_page, first_pair, first_entry = list[list[int]](), 0, 0, 0
    turned, places, ends = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for one, count in zip(seen, page_counts, strict=True):
        first = int(bounds[one.readers[0][0]])
        tokens = int(bounds[one.readers[-1][0] + 1]) - first
        for page in range(0, count, pages_a_split):
            begin, end = page * size, min((page + pages_a_split) * size, one.length)
            splits.append([first_page, begin, end, first, tokens, first_pair, first_entry])
            first_entry += tokens
        for part, made in zip((turned, places, ends), _pairs(one, plan.readings, bounds), strict=True):
            part.append(made)
        first_page, first_pair = first_page + count, first_pair + tokens
    offsets, turns = np.unique(np.concatenate(turned), return_inverse=True)
    return Tables(
        tokens=int(bounds[-1]),
        page_size=size,
        pages=np.concatenate([page_numbers(one.block, one.length) for one in seen]),
        splits=np.array(splits, dtype=np.int32),
        turns=turns.astype(np.int32),
        offsets=offsets,
        places=np.concatenate(places),
        ends=np.concatenate(ends),
    )


def token_bounds(readings: Iterable[Reading]) -> npt.NDArray[np.int64]:
    """Where each row's tokens begin in the packed sequence, and where the last row's end: [rows + 1]."""
    return np.cumsum([0, *(reading.count for reading in readings)])


def _pairs(one: Seen, readings: Sequence[Reading], bounds: npt.NDArray[np.int64]) -> tuple[np.ndarray, Ints, Ints]:
    """Of each pair of a block: the extra rotation, the token's place, the end of what it sees."""
    first, last = bounds[one.readers[0][0]], bounds[one.readers[-1][0] + 1]
    turned = np.zeros(last - first, dtype=np.int64)
    places, ends = np.zeros(last - first, dtype=np.int32), np.zeros(last - first, dtype=np.int32)
    for row, index in one.readers:
        reading, starts = readings[row], readings[row].starts
        part = slice(bounds[row] - first, bounds[row + 1] - first)
        own = np.arange(reading.lengths[-1] - reading.count, reading.lengths[-1])
        turned[part] = starts[-1] - starts[index]
        places[part] = turned[part] + own
        ends[part] = own + 1 if index == len(starts) - 1 else reading.lengths[index]
    return turned, places, ends


def page_numbers(block: Block, length: int) -> Ints:
    """The pages of a block that hold its first ``length`` tokens."""
    size = block.pool.page_size
    runs = block.runs(0, -(-length // size))
    return np.concatenate([np.arange(begin // size, end // size, dtype=np.int32) for begin, end in runs])
