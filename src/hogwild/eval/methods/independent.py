"""``independent-N``: N workers that know nothing of each other, and one finisher that reads what all have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hogwild.engine import Engine
from hogwild.eval.methods.joined import answers
from hogwild.eval.methods.readings import Trail, first_error
from hogwild.eval.methods.teams import alone, check_alone, count_of, warm
from hogwild.eval.methods.vote import together
from hogwild.eval.outcome import Outcome, Question, Run
from hogwild.team.team import Team


@dataclass(frozen=True)
class Independent:
    """``count`` workers as those of `Vote`; each goes on to its own end, whatever the others have found."""

    name: str
    count: int

    def run(self, engine: Engine, question: Question) -> Run:
        """See `Method`."""
        check_alone(self.name, question)
        own = replace(question, sampling=warm(question.sampling))
        return _join(engine, [alone(engine, own, number, ask=False) for number in range(self.count)], question)


def _join(engine: Engine, teams: Sequence[Team], question: Question) -> Run:
    results = yield teams
    trails = [Trail(result) for result in results]
    texts = [[trail.text(budget) for trail in trails] for budget in question.budgets]
    lengths = [sum(trail.tokens(budget) for trail in trails) for budget in question.budgets]
    answered, error, asked = yield from answers(engine, question, texts, lengths)
    readings = [together(trails, budget, *answer) for budget, answer in zip(question.budgets, answered, strict=True)]
    return Outcome(readings, [*(result.events for result in results), *asked], first_error(trails) or error)


def make(name: str, words: list[str]) -> Independent:
    """``independent-N``."""
    return Independent(name, count_of(name, words, least=2))
