"""``skeleton``: Skeleton-of-Thought. One worker lists the points of the answer, and each is written out on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hogwild.engine import Engine
from hogwild.eval.methods.joined import answers
from hogwild.eval.methods.readings import Trail, first_error
from hogwild.eval.methods.teams import SEED_STRIDE, check_alone, count_of, options
from hogwild.eval.methods.vote import together
from hogwild.eval.outcome import Outcome, Question, Run
from hogwild.team.parts import parse_plan
from hogwild.team.team import Team

MOST_POINTS = 10

OUTLINE = """\
List the main points that the answer to the question below needs, 3 to {most} of them. Write one point a line, \
numbered, each of 3 to 6 words, and nothing else: the points are worked out later.

Question: {question}"""

POINT = """\
The question below is being answered point by point. Work out point {number} alone, in as few words as it needs; \
others do the rest.

Question: {question}

Points:
{outline}

Point {number}: {point}"""


@dataclass(frozen=True)
class Skeleton:
    """``threads`` points are written at the same time, None for all; waves come one after the other."""

    name: str
    threads: int | None = None

    def run(self, engine: Engine, question: Question) -> Run:
        """See `Method`."""
        check_alone(self.name, question)
        return _stages(engine, question, _outline(engine, question), self.threads)


def _outline(engine: Engine, question: Question) -> Team:
    task = OUTLINE.format(most=MOST_POINTS, question=question.problem.question)
    return Team(engine, task, 1, **_plain(question, question.budgets[-1]))


def _plain(question: Question, budget: int) -> dict[str, Any]:
    """The options of a stage: free text, which ends where the model ends its turn."""
    return options(question, budget) | {"answer": "text", "answer_tokens": None}


def _stages(engine: Engine, question: Question, outline: Team, threads: int | None) -> Run:
    stages = [[Trail(result) for result in (yield [outline])]]
    points = parse_plan(stages[0][0].text(question.budgets[-1]), MOST_POINTS) if stages[0][0].finished else []
    size, first = threads or MOST_POINTS, 0
    while first < len(points) and (left := question.budgets[-1] - sum(map(_length, stages))) > 0:
        numbers = range(first, min(first + size, len(points)))
        wave = [_point(engine, question, points, number, left) for number in numbers]
        stages.append([Trail(result) for result in (yield wave)])
        first += size
    return (yield from _finish(engine, question, stages, cut=first < len(points)))


def _point(engine: Engine, question: Question, points: Sequence[str], number: int, budget: int) -> Team:
    outline = "\n".join(f"{place}. {point}" for place, point in enumerate(points, 1))
    fields = {"number": number + 1, "point": points[number], "outline": outline}
    given = _plain(question, budget) | {"seed": question.seed + (number + 1) * SEED_STRIDE}
    return Team(engine, POINT.format(question=question.problem.question, **fields), 1, **given)


def _length(stage: Sequence[Trail]) -> int:
    return max(trail.length for trail in stage)


def _finish(engine: Engine, question: Question, stages: Sequence[Sequence[Trail]], cut: bool) -> Run:
    """The finisher reads what was there at each budget: every stage begins where the one before has ended.

    ``cut`` says that the last budget left points out.
    """
    trails = [trail for stage in stages for trail in stage]
    starts = [sum(map(_length, stages[:number])) for number in range(len(stages))]
    length = sum(map(_length, stages))
    begun = [
        [(stage, budget - start) for stage, start in zip(stages, starts, strict=True) if budget > start]
        for budget in question.budgets
    ]
    texts = [[trail.text(left) for stage, left in one for trail in stage] for one in begun]
    parts = [[together(stage, left, None, "") for stage, left in one] for one in begun]
    answered, error, asked = yield from answers(
        engine, question, texts, [sum(part.tokens for part in one) for one in parts]
    )
    readings = [
        replace(
            one[-1],
            budget=budget,
            answer=answer,
            text=text,
            passes=sum(part.passes for part in one),
            tokens=sum(part.tokens for part in one),
            seconds=sum(part.seconds for part in one),
            reason="budget" if cut or budget < length else one[-1].reason,
        )
        for budget, one, (answer, text) in zip(question.budgets, parts, answered, strict=True)
    ]
    return Outcome(readings, [*(trail.events for trail in trails), *asked], first_error(trails) or error)


def make(name: str, words: list[str]) -> Skeleton:
    """``skeleton`` or ``skeleton-W``."""
    return Skeleton(name, count_of(name, words) if words else None)
