"""A plan as integer tables, for kernels that read pages: which pages, for which tokens, which offsets are visible.

A *pair* is a (token, block): the tokens of all rows that read a block, from the first to the last of them, are its
pairs, so that a kernel finds pair and token by adding. A *split* is a part of a block's pages that one program reads
for all pairs of the block; an *entry* is what a split leaves behind for one pair, to be merged.

Legend: T new tokens, P pairs, S splits, N pages, U different extra rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hogwild.attention.plan import Plan
from hogwild.cache import Block

Ints = npt.NDArray[np.int32]

FIRST_PAGE, BEGIN, END, FIRST_TOKEN, TOKENS, FIRST_PAIR, FIRST_ENTRY, SPLIT_FIELDS = range(8)
"""The fields of a split: where its block's pages begin in the table of pages, the block offsets that it reads (END is
exclusive), its tokens, its first pair and its first entry."""


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


def make_tables(plan: Plan, wanted_splits: int) -> Tables:
    """The tables of ``plan``, with about ``wanted_splits`` splits: at least one a block, and no more than that more."""
    size = plan.readers[0].block.pool.page_size
    lengths = seen_lengths(plan)
    page_counts = [-(-length // size) for length in lengths]
    pages_a_split = max(1, -(-sum(page_counts) // wanted_splits))
    splits, first_page, first_entry = list[list[int]](), 0, 0
    for readers, length, count in zip(plan.readers, lengths, page_counts, strict=True):
        for page in range(0, count, pages_a_split):
            begin, end = page * size, min((page + pages_a_split) * size, length)
            splits.append([first_page, begin, end, readers.first_token, readers.tokens, readers.pair, first_entry])
            first_entry += readers.tokens
        first_page += count
    offsets, turns = np.unique(plan.pair_offsets.numpy(), return_inverse=True)
    return Tables(
        tokens=plan.tokens,
        page_size=size,
        pages=np.concatenate([page_numbers(r.block, length) for r, length in zip(plan.readers, lengths, strict=True)]),
        splits=np.array(splits, dtype=np.int32),
        turns=turns.astype(np.int32),
        offsets=offsets,
        places=plan.places.astype(np.int32),
        ends=plan.ends.astype(np.int32),
    )


def seen_lengths(plan: Plan) -> list[int]:
    """Of each block that is read, the most of it that any token sees, in the order of ``plan.readers``."""
    return [int(plan.ends[readers.pairs].max()) for readers in plan.readers]


def page_numbers(block: Block, length: int) -> Ints:
    """The pages of a block that hold its first ``length`` tokens."""
    size = block.pool.page_size
    runs = block.runs(0, -(-length // size))
    return np.concatenate([np.arange(begin // size, end // size, dtype=np.int32) for begin, end in runs])
