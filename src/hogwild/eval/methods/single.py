"""``single``: one worker with the model's ordinary output, asked by the finisher at each budget."""

from __future__ import annotations

from dataclasses import dataclass

from hogwild.engine import Engine
from hogwild.errors import OptionError
from hogwild.eval.methods.readings import Trail
from hogwild.eval.methods.teams import alone, check_alone
from hogwild.eval.outcome import Outcome, Question, Reading, Run
from hogwild.team.team import Team
from hogwild.team.worker import NAMES


@dataclass(frozen=True)
class Single:
    """One worker. Without ``finish``, only what it wrote itself counts."""

    name: str
    finish: bool = True

    def run(self, engine: Engine, question: Question) -> Run:
        """See `Method`."""
        check_alone(self.name, question)
        return one_team(alone(engine, question, ask=self.finish), question, finish=self.finish)


def one_team(team: Team, question: Question, *, finish: bool) -> Run:
    """The run of a method that is one team."""
    (result,) = yield [team]
    trail = Trail(result)
    return Outcome([read(trail, question, budget, finish) for budget in question.budgets], [result.events], trail.error)


def read(trail: Trail, question: Question, budget: int, finish: bool) -> Reading:
    """The reading with or without the finisher; where the problem names the worker that answers, its text alone."""
    problem = question.problem
    if finish and problem.answered_by is None:
        return trail.reading(budget)
    worker = None if problem.answered_by is None else NAMES[problem.answered_by]
    return trail.own_reading(budget, problem.form, problem.question, worker)


def make(name: str, words: list[str]) -> Single:
    """``single`` or ``single-nofinish``."""
    if words not in ([], ["nofinish"]):
        raise OptionError(f"method {name!r} is unknown: give single or single-nofinish")
    return Single(name, finish=not words)
