"""A block: a run of tokens whose keys and values are cached together, as if it began at position 0."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hogwild.cache.pool import Pool
from hogwild.errors import BlockError, WindowError


class Block:
    """Tokens with their keys and values in a `Pool`. Append-only, but for `truncate`.

    A reader may place a block anywhere in its view: keys are stored once, rotated to the token's offset in the
    block, and the reader's query is rotated for the rest. Get one from ``engine.block()``. A block that is no
    longer referenced frees its pages.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._pages: list[int] = []
        self._tokens = array("q")
        self._freed = False

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        state = "freed" if self._freed else f"{len(self)} tokens, {len(self._pages)} pages"
        return f"<Block {id(self):#x}: {state}>"

    def __bool__(self) -> bool:
        return True  # an empty block is a block

    @property
    def tokens(self) -> tuple[int, ...]:
        """The token ids of the block, in order."""
        return tuple(self._tokens)

    @property
    def token_array(self) -> npt.NDArray[np.int64]:
        """The same as an array of one's own [tokens], which takes a copy of memory and no more."""
        return np.array(self._tokens, dtype=np.int64)

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages of the pool that hold the block, in order."""
        return tuple(self._pages)

    @property
    def freed(self) -> bool:
        """Whether `free` was called."""
        return self._freed

    @property
    def pool(self) -> Pool:
        """The pool that holds the block's keys and values."""
        return self._pool

    def free(self) -> None:
        """Let go of the pages. A page that another block shares stays. Freeing twice does nothing."""
        for page in self._pages:
            self._pool.release(page)
        self._pages, self._tokens, self._freed = [], array("q"), True

    def __del__(self) -> None:
        if not getattr(self, "_freed", True):
            self.free()

    def fork(self) -> Block:
        """A second block with the same tokens. It shares the pages; whoever writes to a shared page first copies it."""
        self.check_usable()
        twin = Block(self._pool)
        for page in self._pages:
            self._pool.retain(page)
        twin._pages, twin._tokens = list(self._pages), self._tokens[:]
        return twin

    def truncate(self, length: int) -> None:
        """Forget all tokens from ``length`` on. Raises `BlockError` when the block is shorter than that."""
        self.check_usable()
        if not 0 <= length <= len(self):
            raise BlockError(f"cannot truncate a block of {len(self)} tokens to {length}: give 0 to {len(self)}")
        keep = self._pages_for(length)
        for page in self._pages[keep:]:
            self._pool.release(page)
        del self._pages[keep:]
        del self._tokens[length:]

    def extend(self, other: Block, begin: int = 0, end: int | None = None) -> None:
        """Append a finished block, or the tokens ``begin`` to ``end`` of it (exclusive; default: all).

        The keys turn by one exact rotation, the values are copied as they are, and ``other`` stays as it was. What
        the tokens encode stays what it was under the view they were written in (paper, section 3: encoding them anew
        was no better). Raises `BlockError`, `WindowError` or `CacheFull`, and then nothing has changed.
        """
        self.check_usable()
        other.check_usable()
        end = len(other) if end is None else end
        if other is self:
            raise BlockError("a block cannot be appended to itself: fork it first")
        if other._pool is not self._pool:
            raise BlockError("the two blocks belong to different engines")
        if not 0 <= begin <= end <= len(other):
            raise BlockError(f"tokens {begin} to {end} are not all in the other block, which has {len(other)}")
        offset, count = len(self), end - begin
        if offset + count > self._pool.max_positions:
            raise WindowError(
                f"a block of {offset} + {count} tokens exceeds the model's {self._pool.max_positions} positions"
            )
        if count:
            target = self.reserve(count)
            try:
                self._pool.move(other.slots(begin, end), target, offset - begin)
            except BaseException:  # an interrupt, say: what was reserved goes back
                self.truncate(offset)
                raise
            self.commit(other._tokens[begin:end])

    def without(self, begin: int, end: int) -> Block:
        """A new block without the tokens ``begin`` to ``end``; what comes after them moves up. Raises as `extend`."""
        if not 0 <= begin <= end <= len(self):
            raise BlockError(f"tokens {begin} to {end} are not all in the block, which has {len(self)}")
        shorter = self.fork()
        try:
            shorter.truncate(begin)
            shorter.extend(self, end)
        except BaseException:
            shorter.free()  # at once, whoever keeps the error and with it the block
            raise
        return shorter

    # What follows serves the engine: a write is reserve, then the keys, then commit.

    def check_usable(self) -> None:
        """Raise `BlockError` when the block was freed."""
        if self._freed:
            raise BlockError("this block was freed and cannot be used any more")

    @property
    def shared_page(self) -> int | None:
        """The last page, if it is only partly filled and another block has it too: it is copied before a write."""
        partly = len(self) % self._pool.page_size != 0
        return self._pages[-1] if partly and self._pool.users(self._pages[-1]) > 1 else None

    def pages_wanted(self, count: int) -> int:
        """How many free pages it takes to append ``count`` tokens, but for a copy of `shared_page`."""
        return self._pages_for(len(self) + count) - len(self._pages)

    def reserve(self, count: int) -> Tensor:
        """Make room for ``count`` tokens; their `slots` [count]. Raises `CacheFull` and changes nothing."""
        shared, more = self.shared_page, self.pages_wanted(count)
        self._pool.require(more + (shared is not None))
        if shared is not None:
            self._own_last_page(shared)
        if more:
            self._pages += self._pool.allocate(more, self._pages[-1] if self._pages else None)
        return self.slots(len(self), len(self) + count)

    def commit(self, tokens: Iterable[int]) -> None:
        """Count reserved slots as written."""
        self._tokens.extend(tokens)

    def slots(self, begin: int, end: int) -> Tensor:
        """The slots of the offsets ``begin`` to ``end`` (exclusive), written or reserved. int64 [end - begin].

        On the CPU wherever the pool is: each copy to a GPU waits for it, and a pass needs those of all rows at once.
        """
        size = self._pool.page_size
        if end - begin == 1:  # of a pass most rows bring one token
            return torch.tensor([self._pages[begin // size] * size + begin % size])
        offsets = torch.arange(begin, end)
        pages = torch.tensor(self._pages, dtype=torch.int64)
        return pages[offsets // size] * size + offsets % size

    def runs(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The slots of the block's pages ``begin`` to ``end`` (exclusive), as maximal runs ``(first, last + 1)``."""
        size, runs = self._pool.page_size, list[tuple[int, int]]()
        for page in self._pages[begin:end]:
            if runs and runs[-1][1] == page * size:
                runs[-1] = (runs[-1][0], (page + 1) * size)
            else:
                runs.append((page * size, (page + 1) * size))
        return runs

    def _pages_for(self, length: int) -> int:
        return -(-length // self._pool.page_size)

    def _own_last_page(self, shared: int) -> None:
        """Copy on write: replace the shared last page by one of our own."""
        size = self._pool.page_size
        (own,) = self._pool.allocate(1, self._pages[-2] if len(self._pages) > 1 else None)
        self._pool.copy_slots(shared * size, own * size, len(self) % size)
        self._pool.release(shared)
        self._pages[-1] = own
