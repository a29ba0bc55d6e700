"""Who takes part in a comparison: our own engine in its ways, and what each side has to offer for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from hogwild.attention import AttentionFunction
from hogwild.bench import copied
from hogwild.bench.workload import Prefilled, Workload, check_room, grow
from hogwild.engine import Engine
from hogwild.errors import BlockError


class Contestant(Protocol):
    """One that does the work: a model in memory, and a context that it is set at.

    ``name`` is what the tables say, ``note`` what a reader must know of how it works here.
    """

    name: str
    note: str

    def prepare(self, context: int, workers: int) -> None:
        """Set it at ``workers`` sequences behind ``context`` tokens. Raises a `HogwildError` where that cannot be."""

    def seconds(self, passes: int) -> list[float]:
        """The time of each of ``passes`` passes, in which every sequence gets a token. It is afterwards as before."""

    def release(self) -> None:
        """Let go of the context."""


class Team:
    """N workers of one team on our engine: one context, read by all, each other's tokens too."""

    note = "one shared context, and each worker sees the others' tokens"

    def __init__(self, name: str, engine: Engine, source: Prefilled, seed: int) -> None:
        self.name = name
        self.engine = engine
        self._source = source
        self._seed = seed
        self._load: Workload | None = None

    copies = False  # whether each worker has a context of its own

    def prepare(self, context: int, workers: int) -> None:
        """Grow the context, or one for each."""
        count = workers if self.copies else 1
        check_room(self.engine, context, workers, tokens=32, copies=count)
        contexts = [self.engine.block() for _ in range(count)]
        for block in contexts:
            grow(block, self._source.block, context)
        self._load = Workload(self.engine, contexts, workers, self._seed, together=not self.copies)

    def seconds(self, passes: int) -> list[float]:
        """Passes with greedy sampling."""
        if self._load is None:
            raise BlockError(f"{self.name} has no context: prepare it first")
        return self._load.seconds(passes)

    def release(self) -> None:
        """Free all blocks."""
        if self._load is not None:
            self._load.free(contexts=True)
        self._load = None


class Separate(Team):
    """N independent sequences on the same engine: a copy of the context for each, and nobody reads another."""

    note = "our engine, a copy of the context for each sequence"
    copies = True


class Copied(Team):
    """The team of the same engine, with keys turned and copied for each worker in each layer of each pass."""

    note = "our engine, keys re-rotated and copied for every worker in every layer and pass, as first published"

    def seconds(self, passes: int) -> list[float]:
        """Passes with the other attention function."""
        with _attention(self.engine, copied.copied_attention):
            return super().seconds(passes)


@contextmanager
def _attention(engine: Engine, function: AttentionFunction) -> Iterator[None]:
    before = engine.attention
    engine.attention = function
    try:
        yield
    finally:
        engine.attention = before
