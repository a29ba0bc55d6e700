"""Prompts that were read once: whoever begins with the same tokens gets a fork of them, and reads only the rest.

Only tokens that are equal from the first one on are shared, so nobody sees what another has asked. Pages are kept for
as long as nobody else wants them: to the pool they count as free.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hogwild.cache import Block, Pool

SHARE = 0.25
"""The part of the pool that prompts may keep, unless `Prefixes.limit` is set."""


@dataclass(eq=False)
class _Kept:
    block: Block
    tokens: npt.NDArray[np.int64]
    owner: str | None


class Prefixes:
    """Blocks with prompts, the least recently used first to go.

    Attributes: ``limit``, the most pages that are kept; 0 keeps nothing. Not safe for several threads, as the engine.
    """

    def __init__(self, pool: Pool) -> None:
        self.limit = int(pool.total_pages * SHARE)
        self._pool = pool
        self._kept: list[_Kept] = []  # the most recently used last
        alive = weakref.ref(self)  # a cycle would keep the pool's memory until the next garbage collection

        def reclaim(count: int) -> None:
            if (prefixes := alive()) is not None:
                prefixes.give_back(count)

        pool.reclaim = reclaim

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def pages(self) -> int:
        """How many pages are kept, those that a living block uses as well included."""
        return int(np.count_nonzero(self._pool.kept))

    def fork(self, tokens: Sequence[int], owner: str | None = None) -> Block:
        """A block with the longest known beginning of ``tokens``: all of them, whole pages, or nothing.

        Nothing is copied, and as a page that is not full is only shared when nothing is left to be read, nothing has to
        be copied when the rest is. With an ``owner`` only what this one has kept is known, and only as a whole.
        """
        wanted = np.asarray(tokens, dtype=np.int64)
        lengths = [_shared(kept, wanted, owner) for kept in self._kept]
        length = max(lengths, default=0)
        whole = length - length % self._pool.page_size
        shared = length if length == len(wanted) else whole
        if shared == 0:
            return Block(self._pool)
        found = self._kept.pop(len(lengths) - 1 - lengths[::-1].index(length))
        self._kept.append(found)
        twin = found.block.fork()
        twin.truncate(shared)
        return twin

    def keep(self, block: Block, owner: str | None = None) -> None:
        """Remember what ``block`` holds: a prompt, read with no other block in view. The block stays the caller's.

        With an ``owner``, for this one alone.
        """
        tokens = np.array(block.tokens, dtype=np.int64)
        known = any(_shared(kept, tokens, owner) == len(tokens) for kept in self._kept)
        if known or len(block.pages) > self.limit:
            return
        # The beginnings of the new prompt can be forked from it.
        covered = [kept for kept in self._kept if _shared(kept, tokens, owner) == len(kept.tokens)]
        self._kept.append(_Kept(block.fork(), tokens, owner))
        self._count()
        self._drop(covered)
        while self.pages > self.limit:
            self._drop(self._kept[:1])

    def give_back(self, count: int) -> None:
        """Free ``count`` pages that nobody uses, or all there are; the pool asks for it when it runs short."""
        users, freed = self._pool.users, 0
        for kept in list(self._kept):
            if freed >= count:
                return
            pages = kept.block.pages
            if any(users(page) == self._pool.kept[page] for page in pages):  # else all of it is in use, and stays
                freed += sum(users(page) == 1 for page in pages)
                self._drop([kept])

    def clear(self) -> None:
        """Forget all prompts. Blocks that were forked from them stay as they are."""
        self._drop(list(self._kept))

    def _drop(self, gone: list[_Kept]) -> None:
        self._kept = [kept for kept in self._kept if kept not in gone]
        self._count()  # first: a page must not count as kept when only others use it
        for kept in gone:
            kept.block.free()

    def _count(self) -> None:
        """Tell the pool which uses of its pages are ours."""
        pages = [page for kept in self._kept for page in kept.block.pages]
        counted = np.bincount(np.array(pages, dtype=np.int64), minlength=self._pool.total_pages)
        self._pool.kept = counted.astype(np.int32)


def _shared(kept: _Kept, wanted: npt.NDArray[np.int64], owner: str | None) -> int:
    """How many of the tokens that ``owner`` wants it may have from what was kept: with a name, all or none."""
    if kept.owner != owner:
        return 0
    length = common(kept.tokens, wanted)
    return length if owner is None or length == len(wanted) == len(kept.tokens) else 0


def common(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> int:
    """How many tokens two sequences have in common from the first one on."""
    length = min(len(left), len(right))
    differs = np.flatnonzero(left[:length] != right[:length])
    return int(differs[0]) if len(differs) else length
