"""A plan as integer tables, for kernels that read pages: which pages, for which tokens, which offsets are visible.

A *pair* is a (token, block): the tokens of all rows that read a block, from the first to the last of them, are its
pairs, so that a kernel finds pair and token by adding. A *split* is a part of a block's pages that one program reads
for all pairs of the block; an *entry* is what a split leaves behind for one pair, to be merged.

Legend: T new tokens, P pairs, S splits, E entries, N pages, U different extra rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hogwild.attention.plan import Plan, ranges
from hogwild.cache import Block

Ints = npt.NDArray[np.int32]

FIRST_PAGE, BEGIN, END, FIRST_TOKEN, TOKENS, FIRST_PAIR, FIRST_ENTRY, SPLIT_FIELDS = range(8)
"""The fields of a split: where its block's pages begin in the table of pages, the block offsets that it reads (END is
exclusive), its tokens, its first pair and its first entry."""


MANY = 1 << 30
"""More tokens than a pass has."""


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
    merged: Ints  # [E], the entries, those of each token together
    borders: Ints  # [T + 1], where in `merged` those of each token begin

    @property
    def entries(self) -> int:
        """How many entries all splits leave behind."""
        return len(self.merged)

    @property
    def most_tokens(self) -> int:
        """The most tokens that read one block."""
        return int(self.splits[:, TOKENS].max())

    @property
    def rotates(self) -> bool:
        """Whether any query still has to turn."""
        return bool(self.offsets.any())


def make_tables(plan: Plan, wanted_splits: int, tile_tokens: int = MANY) -> Tables:
    """The tables of ``plan``, with about ``wanted_splits`` splits: at least one a block, and no more than that more.

    A program takes ``tile_tokens`` tokens at a time: where more read a block, more programs read it, and they count in
    the work that is dealt out. So there are at most P + wanted_splits * tile_tokens entries.
    """
    size = plan.readers[0].block.pool.page_size
    lengths = seen_lengths(plan)
    page_counts = [-(-length // size) for length in lengths]
    work = sum(
        count * -(-readers.tokens // tile_tokens) for readers, count in zip(plan.readers, page_counts, strict=True)
    )
    pages_a_split = max(1, -(-work // wanted_splits))
    splits, first_page, first_entry = list[list[int]](), 0, 0
    for readers, length, count in zip(plan.readers, lengths, page_counts, strict=True):
        for page in range(0, count, pages_a_split):
            begin, end = page * size, min((page + pages_a_split) * size, length)
            splits.append([first_page, begin, end, readers.first_token, readers.tokens, readers.pair, first_entry])
            first_entry += readers.tokens
        first_page += count
    table = np.array(splits, dtype=np.int32)
    tokens = ranges(table[:, FIRST_TOKEN], table[:, TOKENS])
    offsets, turns = np.unique(plan.pair_offsets.numpy(), return_inverse=True)
    return Tables(
        tokens=plan.tokens,
        page_size=size,
        pages=np.concatenate([page_numbers(r.block, length) for r, length in zip(plan.readers, lengths, strict=True)]),
        splits=table,
        turns=turns.astype(np.int32),
        offsets=offsets,
        places=plan.places.astype(np.int32),
        ends=plan.ends.astype(np.int32),
        merged=np.argsort(tokens, kind="stable").astype(np.int32),
        borders=np.concatenate([[0], np.cumsum(np.bincount(tokens, minlength=plan.tokens))]).astype(np.int32),
    )


def seen_lengths(plan: Plan) -> list[int]:
    """Of each block that is read, the most of it that any token sees, in the order of ``plan.readers``."""
    most: list[int] = np.maximum.reduceat(plan.ends, [readers.pair for readers in plan.readers]).tolist()
    return most


def page_numbers(block: Block, length: int) -> Ints:
    """The pages of a block that hold its first ``length`` tokens."""
    return np.array(block.pages[: -(-length // block.pool.page_size)], dtype=np.int32)
