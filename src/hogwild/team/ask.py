"""How a team gets its passes: it asks for each, and whoever drives it does the pass and sends the logits back.

So one team can be driven by `drive` with an engine of its own, and many by a scheduler that fuses what they ask for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from hogwild.engine import Engine, Row
from hogwild.sampling import on_cpu
from hogwild.team.events import Event

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """A pass that a team wants: all ``rows`` in one, but for what `cut_rows` may let go ahead.

    The answer is what `Engine.forward` returns for the rows, float32, on the CPU; or None where no ``logits`` are
    wanted.
    """

    rows: Sequence[Row]
    logits: bool = True


@dataclass(frozen=True)
class Wait:
    """Nobody can write before a tool returns: there is nothing to do until ``ready()``, or until the time ``until`` of
    `time.monotonic`. The answer is None; who answers early is told to wait again.
    """

    ready: Callable[[], bool]
    until: float

    @property
    def over(self) -> bool:
        """Whether there is something to do again."""
        return self.ready() or time.monotonic() >= self.until


POLL = 0.01
"""Seconds between two looks whether a wait is over: unlike an event, a flag may be set by a signal handler."""

Play = Generator[Event | Ask | Wait, Tensor | None, T]
"""What a team does, step by step: events come out, and asks, which are answered by ``send``, or by ``throw`` with what
the engine raised (`CacheFull`, `WindowError`); then no block has changed."""


def ask(rows: Sequence[Row]) -> Play[Tensor]:
    """Have a pass done; its logits."""
    logits = yield Ask(rows)
    assert logits is not None, "who drives a play answers what it asks"
    return logits


def feed(rows: Sequence[Row]) -> Play[None]:
    """Have a pass done where nobody wants its logits."""
    yield Ask(rows, logits=False)


def side_by_side(plays: Sequence[Play[T]]) -> Play[list[T]]:
    """Play several that only ask, and have what they ask for at a time done in one pass; what each returns.

    Where a pass fails, all of them end.
    """
    results, answers = dict[int, T](), dict[int, Tensor]()
    try:
        while True:
            rows = dict[int, Sequence[Row]]()
            for index, play in enumerate(plays):
                if index in results:
                    continue
                try:
                    asked = play.send(answers.get(index))
                    assert isinstance(asked, Ask), "it only asks"
                    rows[index] = asked.rows
                except StopIteration as stop:
                    results[index] = stop.value
            if not rows:
                return [results[index] for index in range(len(plays))]
            logits = yield from ask([row for own in rows.values() for row in own])
            counts = [sum(1 + row.drafts for row in own) for own in rows.values()]
            answers = dict(zip(rows, logits.split(counts), strict=True))
    finally:
        for play in plays:
            play.close()


def drive(engine: Engine, play: Play[T]) -> Generator[Event, None, T]:
    """Do what a play asks for with an engine that does nothing else; its events come out.

    Whatever the engine raises is raised where the play has asked.
    """
    answer: Tensor | None = None
    error: BaseException | None = None
    try:
        while True:
            happened = play.send(answer) if error is None else play.throw(error)
            answer = error = None
            if isinstance(happened, Wait):
                while not happened.over:
                    time.sleep(POLL)
                continue
            if not isinstance(happened, Ask):
                yield happened
                continue
            try:
                answer = done(engine, happened)
            except BaseException as raised:  # an interrupt, too, leaves the team's own way
                error = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        play.close()


def done(engine: Engine, asked: Ask) -> Tensor | None:
    """Do what was asked, alone. Raises as `Engine.forward` does."""
    if asked.logits:
        return on_cpu(engine.forward(asked.rows))
    engine.feed(asked.rows)
    return None
