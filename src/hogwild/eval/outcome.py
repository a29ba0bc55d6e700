"""What a method is: it runs teams on one problem and says what it would answer at each budget."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hogwild.engine import Engine
from hogwild.eval.problem import Problem
from hogwild.sampling import Sampling
from hogwild.team.events import Event
from hogwild.team.team import Team


@dataclass(frozen=True)
class Question:
    """One problem as a method gets it. ``budgets`` in passes, ascending; ``answer_tokens`` of the finisher, or None."""

    problem: Problem
    budgets: Sequence[int]
    seed: int
    sampling: Sampling
    answer_tokens: int | None = None


@dataclass(frozen=True)
class TeamResult:
    """What became of one team: all its events, or as many as there were before ``error``, one line."""

    events: Sequence[Event]
    error: str | None = None


@dataclass(frozen=True)
class Reading:
    """The answer at one budget.

    Attributes:
        budget: in passes.
        answer: as parsed by the problem's form, or None.
        text: the answer as shown.
        passes: that were used by then, at most the budget; a method of several stages adds up its stages, each as long
            as its longest team. The finisher's passes are not among them, and neither are those that read prompts.
        tokens: that all workers have written by then, of all stages, without the finisher's.
        seconds: of decoding by then, by the teams' own clocks; meaningful only where nothing else ran.
        reason: why it had ended by then (``answer``, ``done``, ``window``, ``cache``), ``budget`` where it had not,
            ``error`` where it failed.
    """

    budget: int
    answer: str | None
    text: str
    passes: int
    tokens: int
    seconds: float
    reason: str


@dataclass(frozen=True)
class Outcome:
    """A reading for each budget, in order; the teams' events, for traces and measures; ``error`` if one failed."""

    readings: Sequence[Reading]
    traces: Sequence[Sequence[Event]]
    error: str | None = None


Run = Generator[Sequence[Team], Sequence[TeamResult], Outcome]
"""A method at work on one problem: it yields teams that have not begun, which are run together, and is sent what became
of each, in order; perhaps again; then it returns. Whoever drives it may run many at once."""


class Method(Protocol):
    """A way to solve problems, such as ``single``, ``vote-4`` or ``hogwild-2-combined``."""

    @property
    def name(self) -> str:
        """As the user gave it."""

    def run(self, engine: Engine, question: Question) -> Run:
        """Begin one problem. Raises `OptionError` at once for a problem that this method cannot do."""
