"""A paged pool of keys and values for all layers. Its size never changes.

A *slot* holds one token's key and value in every layer; a *page* is a run of slots. Pages are counted: a page
that two blocks share goes back when both have let go of it. Legend: K KV heads, S slots, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hogwild.cache.int8 import SCALE_BYTES, pack, unpack
from hogwild.errors import CacheFull, OptionError
from hogwild.geometry import Layer, Rotary, Rotation, compute_dtype

MIN_PAGES = 4
"""A smaller pool could not hold the blocks of one worker's view, as every block takes a page of its own."""

ROOM = 8
"""Pages that a block can grow by in place, where there is as much room."""


def slot_bytes(layers: Sequence[Layer], dtype: torch.dtype) -> int:
    """Bytes that one token takes in the cache, over all layers, stored in ``dtype``."""
    return sum(
        layer.kv_heads * _width(dim, dtype) * dtype.itemsize
        for layer in layers
        for dim in (layer.key_dim, layer.value_dim)
    )


def _width(dim: int, stored: torch.dtype) -> int:
    """How many numbers a row of a head takes."""
    return dim + SCALE_BYTES if stored == torch.int8 else dim


class Pool:
    """Keys and values of all layers, and the count of who uses which page.

    ``memory`` is in bytes. The operating system commits it as pages are written, not before. ``dtype`` is that of the
    keys and values that come; they are kept as ``stored`` (default: the same), int8 for half the memory and some error.
    ``max_positions`` bounds the length of a block, as no view could hold a longer one.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        memory: int,
        *,
        dtype: torch.dtype,
        stored: torch.dtype | None = None,
        device: torch.device,
        max_positions: int,
        page_size: int = 64,
    ) -> None:
        self.layers = tuple(layers)
        self.dtype = dtype
        self.stored = stored or dtype
        self.device = device
        self.page_size = page_size
        self.max_positions = max_positions
        self.total_pages = memory // (slot_bytes(layers, self.stored) * page_size)
        if self.total_pages < MIN_PAGES:
            need = slot_bytes(layers, self.stored) * page_size * MIN_PAGES
            raise OptionError(f"kv_memory is {memory} bytes: this model needs {need} at least, for {MIN_PAGES} pages")
        slots = self.total_pages * page_size
        try:
            self.keys = [self._tensor(layer.kv_heads, slots, layer.key_dim) for layer in layers]  # [K, S, D]
            self.values = [self._tensor(layer.kv_heads, slots, layer.value_dim) for layer in layers]
        except RuntimeError as error:  # torch's way to say that there is not so much memory
            raise OptionError(f"kv_memory is {memory} bytes, more than {device} can give: ask for less") from error
        self._users = np.zeros(self.total_pages, dtype=np.int32)
        # What is kept only for as long as nobody else wants the room, see `hogwild.engine.prefixes`: how many of each
        # page's users are of that kind, and what gives so many pages back.
        self.kept = np.zeros(self.total_pages, dtype=np.int32)
        self.reclaim: Callable[[int], None] = lambda count: None
        # What may free pages that are in use when so many are not free: see `hogwild.schedule`.
        self.relieve: Callable[[int], None] = lambda count: None

    def _tensor(self, heads: int, slots: int, dim: int) -> Tensor:
        return torch.empty(heads, slots, _width(dim, self.stored), dtype=self.stored, device=self.device)

    @property
    def used_pages(self) -> int:
        """Pages that some block uses; those that are only kept in case they are wanted again do not count."""
        return int(np.count_nonzero(self._users > self.kept))

    @property
    def free_pages(self) -> int:
        """Pages that can be had."""
        return self.total_pages - self.used_pages

    @property
    def bytes(self) -> int:
        """The size of the pool."""
        return slot_bytes(self.layers, self.stored) * self.page_size * self.total_pages

    def users(self, page: int) -> int:
        """How many blocks use a page."""
        return int(self._users[page])

    def retain(self, page: int) -> None:
        """Count one more user of a page."""
        self._users[page] += 1

    def release(self, page: int) -> None:
        """Count one user less; at zero the page is free."""
        self._users[page] -= 1

    def require(self, count: int) -> None:
        """Raise `CacheFull` unless ``count`` pages are free, or can be made so."""
        if count <= 0:  # a row in a page of its own, as most are
            return
        if count > self.free_pages:
            self.relieve(count)
        if count > self.free_pages:
            raise CacheFull(
                f"the KV pool is full: {count} pages of {self.page_size} tokens wanted, {self.free_pages} of "
                f"{self.total_pages} free; free some blocks or give more kv_memory"
            )

    def allocate(self, count: int, after: int | None = None) -> list[int]:
        """Take ``count`` free pages, in runs as long as can be had, starting right behind page ``after``.

        Attention reads a run of neighbouring pages in place, so runs are worth having. The pages hold zeros. All or
        nothing: raises `CacheFull` and takes none when there are too few.
        """
        self.require(count)
        if (empty := self.total_pages - int(np.count_nonzero(self._users))) < count:
            self.reclaim(count - empty)
        pages: list[int] = []
        while len(pages) < count:
            page = self._next(after)
            self._users[page] = 1
            pages.append(page)
            after = page
        self._clear(pages)
        return pages

    def _clear(self, pages: list[int]) -> None:
        """Attention reads whole pages and hides what is not written yet: nothing there may be infinite or no number."""
        taken = torch.tensor(pages, dtype=torch.int64, device=self.device)
        for tensor in (*self.keys, *self.values):
            tensor.unflatten(1, (self.total_pages, self.page_size)).index_fill_(1, taken, 0)

    def _next(self, after: int | None) -> int:
        if after is not None and after + 1 < self.total_pages and self._users[after + 1] == 0:
            return after + 1
        edges = np.flatnonzero(np.diff(np.concatenate(([1], self._users != 0, [1])).astype(np.int8)))
        starts, ends = edges[::2], edges[1::2]  # the free runs
        # The first run with room for two blocks to grow, so that memory that was written before is written again;
        # else the longest. A block begins some pages into it: the room before it is for the block that stands there.
        roomy = np.flatnonzero(ends - starts >= 2 * ROOM)
        chosen = int(roomy[0]) if len(roomy) else int(np.argmax(ends - starts))
        start, end = int(starts[chosen]), int(ends[chosen])
        return start if start == 0 else start + min((end - start) // 2, ROOM)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put new ``keys`` [K, n, D] and ``values`` [K, n, V] of one layer into ``slots`` [n], on the pool's device."""
        for tensor, new in ((self.keys[layer], keys), (self.values[layer], values)):
            tensor.index_copy_(1, slots, pack(new) if self.stored == torch.int8 else new)

    def copy_slots(self, source: int, target: int, count: int) -> None:
        """Copy ``count`` neighbouring slots, in every layer, as they are."""
        for tensor in (*self.keys, *self.values):
            tensor[:, target : target + count] = tensor[:, source : source + count]

    def move(self, source: Tensor, target: Tensor, offset: int) -> None:
        """Copy slots ``source`` [n] to ``target`` [n]; keys turn by ``offset`` positions (values have none).

        The rotation is computed in float32 (float64 for a float64 pool) from exact angles and rounded once; keys in
        8 bits are rounded to them once more at each move.
        """
        wide, offsets = compute_dtype(self.dtype), torch.tensor([offset])
        source, target = torch.stack([source, target]).to(self.device)
        rotations: dict[tuple[Rotary, int], Rotation] = {}  # by head size too: layers of two sizes may share a RoPE
        for layer, keys, values in zip(self.layers, self.keys, self.values, strict=True):
            moved = keys.index_select(1, source)
            if layer.rotary is not None and offset != 0:
                kind = (layer.rotary, layer.key_dim)
                if kind not in rotations:
                    rotations[kind] = layer.rotary.rotation(offsets, layer.key_dim, wide, self.device)
                turned = rotations[kind](unpack(moved, wide))
                moved = pack(turned) if self.stored == torch.int8 else turned.to(self.dtype)
            keys.index_copy_(1, target, moved)
            values.index_copy_(1, target, values.index_select(1, source))
