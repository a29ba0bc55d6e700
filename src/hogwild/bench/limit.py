"""The least that a pass must read: each weight once, and each cached key and value once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hogwild.cache import Pool
from hogwild.engine import Engine, Row


@dataclass(frozen=True)
class Reads:
    """Bytes that one pass reads: of ``weights``, and of keys and values (``cache``)."""

    weights: int
    cache: int

    def seconds(self, bandwidth: float) -> float:
        """The time that reading alone takes at ``bandwidth`` bytes a second: the limit of a pass."""
        return (self.weights + self.cache) / bandwidth


def pass_reads(engine: Engine, rows: Sequence[Row]) -> Reads:
    """What a pass of ``rows`` has to read."""
    return Reads(weight_bytes(engine.model, sum(len(row.tokens) for row in rows)), cache_bytes(engine.pool, rows))


def weight_bytes(model: nn.Module, tokens: int) -> int:
    """Bytes of weights that a pass of ``tokens`` reads, as they are stored: quantised ones count what they take.

    Of an embedding table only the rows that are gathered count, unless the head reads the same table: then it counts
    once, whole. All experts of a mixture count, used or not.
    """
    modules = list(model.modules())
    read = {place: size for module in modules if not _is_table(module) for place, size in _stored(module)}
    tables = {
        place: min(size, tokens * size // module.num_embeddings)
        for module in modules
        if isinstance(module, nn.Embedding)
        for place, size in _stored(module)
        if place not in read
    }
    return sum(read.values()) + sum(tables.values())


def cache_bytes(pool: Pool, rows: Sequence[Row]) -> int:
    """Bytes of keys and values that ``rows`` read, each counted once for all rows, and only as far as windows reach."""
    numbers = [layer.kv_heads * (layer.key_dim + layer.value_dim) for layer in pool.layers]
    scale = pool.bytes / (pool.total_pages * pool.page_size * sum(numbers))  # bytes a number, with what belongs to it
    seen = {window: _tokens_seen(rows, window) for window in {layer.window for layer in pool.layers}}
    return round(sum(n * seen[layer.window] for n, layer in zip(numbers, pool.layers, strict=True)) * scale)


def _tokens_seen(rows: Sequence[Row], window: int | None) -> int:
    """How many tokens of all blocks some row sees, each counted once."""
    appended = {id(row.own): len(row.tokens) for row in rows}
    seen: dict[int, int] = {}
    for row in rows:
        lengths = [len(block) + appended.get(id(block), 0) for block in row.view]
        oldest = 0 if window is None else max(0, sum(lengths) - len(row.tokens) - window + 1)
        for index, block in enumerate(row.view):
            reach = sum(lengths[: index + 1]) - oldest
            seen[id(block)] = max(seen.get(id(block), 0), min(lengths[index], reach))
    return sum(seen.values())


def _is_table(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding)


def _stored(module: nn.Module) -> Iterator[tuple[int, int]]:
    """The weights that a module itself holds: where each lies, and its bytes."""
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        yield _place(tensor), tensor.numel() * tensor.element_size()


def _place(tensor: Tensor) -> int:
    """The address of a tensor's numbers; for one whose layout hides it, of the tensor."""
    try:
        return int(tensor.data_ptr())
    except RuntimeError:  # packed by oneDNN
        return id(tensor)
