"""Writes down what the passes of an engine read and write, whatever was forked, moved or dropped between them.

The record is kept where the keys are: one more layer of the pool holds, in place of values, the number of each token.
Whoever moves a step or copies a page moves its numbers too, so a view is read off its slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from hogwild import engine as engines
from hogwild.engine import Engine
from hogwild.errors import HogwildError
from hogwild.geometry import Layer
from hogwild.train.trace import Row, Trace, make_trace

_NUMBERS = Layer(heads=1, kv_heads=1, key_dim=0, value_dim=1, scale=1.0)


class Recorder:
    """Follows an engine, from now on until it is closed; one at a time.

    with Recorder(engine) as recorder:
        ...
    trace = recorder.trace()

    Prompts that were kept are forgotten, as nobody has noted who wrote them. What was drawn is told by `drawn`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tokens = list[int]()
        self._labels: dict[int, int] = {}
        self._rows = list[Row]()
        self._passes = 0
        self._asked = list[int]()  # the last token of each row of the last pass, whose logits nobody has drawn from
        if engine.observer is not None:
            raise HogwildError("this engine is recorded already: close the other recorder first")
        engine.prefixes.clear()
        pool = engine.pool
        slots = pool.total_pages * pool.page_size
        self._numbers = torch.zeros(1, slots, 1, dtype=torch.int64)  # from 1 on; 0: not ours
        pool.layers += (_NUMBERS,)
        pool.keys.append(torch.zeros(1, slots, 0))
        pool.values.append(self._numbers)
        engine.observer = self._observe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the engine as it was. What was recorded stays."""
        if self._engine.observer is not None:
            self._engine.observer = None
            pool = self._engine.pool
            pool.layers = pool.layers[:-1]
            del pool.keys[-1], pool.values[-1]
            self._engine.prefixes.clear()

    def drawn(self, token: int) -> int:
        """Somebody has drawn ``token`` from the logits of the last pass: rows are drawn from in their order.

        It is learnt; returns a number for `unlearn`.
        """
        number = self._asked.pop(0)
        self._labels[number] = token
        return number

    def unlearn(self, numbers: Iterable[int]) -> None:
        """What was drawn there is not to be learnt after all."""
        for number in numbers:
            self._labels.pop(number, None)

    def trace(self, info: Mapping[str, Any] | None = None) -> Trace:
        """All passes so far as one trace. Raises `HogwildError` where there was none."""
        if not self._rows:
            raise HogwildError("nothing was recorded: no pass was done")
        return make_trace(self._tokens, self._labels, self._rows, info)

    def _observe(self, rows: Sequence[engines.Row]) -> None:
        drafts = {id(row.own): row.drafts for row in rows}
        for row in rows:
            count, length = len(row.tokens), len(row.own)
            begin = len(self._tokens) + 1
            self._numbers[0, row.own.slots(length - count, length), 0] = torch.arange(begin, begin + count)
            self._tokens.extend(row.tokens)
        for row in rows:
            parts = [
                self._numbers[0, block.slots(0, len(block) - (0 if block is row.own else drafts.get(id(block), 0))), 0]
                for block in row.view
            ]
            view = torch.cat(parts).numpy() - 1
            if np.any(view < 0):
                raise HogwildError("a view holds tokens that were fed before the recorder began: begin it earlier")
            self._rows.append(Row(view, len(row.tokens), self._passes))
        self._asked = [int(row.view[-1]) for row in self._rows[-len(rows) :]]
        self._passes += 1
