"""The work that is timed: workers on one context, each of them writing one token a pass, greedily.

A context is not read token by token: a few hundred tokens are prefilled once and then appended to themselves until the
context is as long as asked (`Block.extend`: keys turn to their new positions, values are copied). So the numbers in the
cache are the model's own, and 16,384 tokens take a second. What a pass costs does not depend on what they say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hogwild.bench.machine import synchronize
from hogwild.cache import Block
from hogwild.engine import Engine, Row
from hogwild.errors import WindowError
from hogwild.sampling import Sampling, on_cpu, sample

OPENING = 8
"""Tokens that each worker's own block holds before the first pass."""

WARM = 64
"""Tokens that go through the model before anything is timed."""

GREEDY = Sampling(temperature=0.0)


def random_tokens(engine: Engine, count: int, seed: int) -> list[int]:
    """``count`` token ids, drawn from the whole vocabulary."""
    found: list[int] = torch.randint(
        engine.vocab_size, (count,), generator=torch.Generator().manual_seed(seed)
    ).tolist()
    return found


@dataclass(frozen=True)
class Prefilled:
    """Tokens that went through the model, and the ``rate`` at which they did, in tokens a second."""

    block: Block
    rate: float


def prefill(engine: Engine, count: int, seed: int) -> Prefilled:
    """Prefill ``count`` random tokens."""
    tokens, block, warm = random_tokens(engine, count, seed), engine.block(), engine.block()
    engine.prefill([warm], tokens[:WARM])  # weights come from the disk when they are first read
    warm.free()
    start = time.perf_counter()
    engine.prefill([block], tokens)
    synchronize(engine.device)
    return Prefilled(block, count / (time.perf_counter() - start))


def grow(block: Block, source: Block, length: int) -> None:
    """Append ``source`` to ``block``, again and again, until it has ``length`` tokens. Raises as `Block.extend`."""
    while len(block) < length:
        block.extend(source, 0, min(len(source), length - len(block)))


def check_room(engine: Engine, context: int, workers: int, tokens: int, copies: int = 1) -> None:
    """Raise `WindowError` or `CacheFull` where such a context cannot be, before any work is done."""
    own = OPENING + tokens
    if context + workers * own > engine.max_positions:
        raise WindowError(
            f"a context of {context:,} tokens and {workers} workers' {own} each are more than the model's "
            f"{engine.max_positions:,} positions"
        )
    size = engine.pool.page_size
    engine.pool.require(copies * -(-context // size) + workers * -(-own // size))


class Workload:
    """``workers`` that read one context and each other; each has written `OPENING` tokens.

    ``together=False`` gives each a copy of the context of its own, and nobody reads another: independent sequences.
    """

    def __init__(
        self, engine: Engine, common: Sequence[Block], workers: int, seed: int, *, together: bool = True
    ) -> None:
        self.engine = engine
        self._owns = [engine.block() for _ in range(workers)]
        self._views = [
            [common[0], *(other for other in self._owns if other is not own), own] if together else [common[i], own]
            for i, own in enumerate(self._owns)
        ]
        opening = random_tokens(engine, workers * OPENING, seed)
        rows = [Row(view, opening[i * OPENING : (i + 1) * OPENING]) for i, view in enumerate(self._views)]
        self._first = self._choose(engine.forward(rows))
        self._pending = self._first

    @property
    def rows(self) -> list[Row]:
        """The rows of the next pass."""
        return [Row(view, [token]) for view, token in zip(self._views, self._pending, strict=True)]

    def step(self) -> None:
        """One pass: every worker's pending token goes in, its next one comes out."""
        self._pending = self._choose(self.engine.forward(self.rows))

    def seconds(self, passes: int) -> list[float]:
        """The time of each of so many passes; the blocks are afterwards as they were."""
        found = []
        for _ in range(passes):
            start = time.perf_counter()
            self.step()
            found.append(time.perf_counter() - start)
        self.rewind()
        return found

    def rewind(self) -> None:
        """Forget what was written since the openings."""
        for own in self._owns:
            own.truncate(OPENING)
        self._pending = self._first

    def free(self, *, contexts: bool = False) -> None:
        """Let go of the workers' blocks, and of what they read when asked."""
        for view in self._views:
            view[-1].free()
            if contexts:
                view[0].free()

    def _choose(self, logits: torch.Tensor) -> list[int]:
        return [sample(line, GREEDY, 0.5) for line in on_cpu(logits)]
