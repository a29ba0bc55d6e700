"""``vote-N``: N workers that know nothing of each other, and the answer that most of them give (self-consistency)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hogwild.engine import Engine
from hogwild.eval.methods.alike import majority
from hogwild.eval.methods.readings import Trail, first_error, joint_reason
from hogwild.eval.methods.teams import alone, check_alone, count_of, warm
from hogwild.eval.outcome import Outcome, Question, Reading, Run
from hogwild.team.answer import AnswerForm
from hogwild.team.team import Team


@dataclass(frozen=True)
class Vote:
    """``count`` workers as in ``single``, each with its seed; where sampling is greedy, at a temperature of 0.7."""

    name: str
    count: int

    def run(self, engine: Engine, question: Question) -> Run:
        """See `Method`."""
        check_alone(self.name, question)
        question = replace(question, sampling=warm(question.sampling))
        return _vote([alone(engine, question, number) for number in range(self.count)], question)


def _vote(teams: Sequence[Team], question: Question) -> Run:
    results = yield teams
    trails = [Trail(result) for result in results]
    readings = [_count(trails, budget, question.problem.form) for budget in question.budgets]
    return Outcome(readings, [result.events for result in results], first_error(trails))


def _count(trails: Sequence[Trail], budget: int, form: AnswerForm) -> Reading:
    """What most answer at that budget; without any answer, what the first one shows."""
    readings = [trail.reading(budget) for trail in trails]
    chosen = readings[majority([reading.answer for reading in readings], form) or 0]
    return together(trails, budget, chosen.answer, chosen.text)


def together(trails: Sequence[Trail], budget: int, answer: str | None, text: str) -> Reading:
    """The reading of teams that ran at the same time: as long as the longest of them."""
    return Reading(
        budget,
        answer,
        text,
        passes=max(trail.passes(budget) for trail in trails),
        tokens=sum(trail.tokens(budget) for trail in trails),
        seconds=max(trail.seconds(budget) for trail in trails),
        reason=joint_reason(trails, budget),
    )


def make(name: str, words: list[str]) -> Vote:
    """``vote-N``."""
    return Vote(name, count_of(name, words, least=2))
