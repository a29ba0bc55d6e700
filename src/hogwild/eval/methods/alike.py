"""Whether two answers mean the same: what a vote counts."""

from __future__ import annotations

from collections.abc import Sequence

from hogwild.eval.answers import same_formula, same_number, same_numbers
from hogwild.team.answer import AnswerForm


def alike(one: str, other: str, form: AnswerForm) -> bool:
    """Whether two parsed answers of a form mean the same. Lists are compared place by place, as numbers."""
    if _plain(one) == _plain(other):
        return True
    if form == "number":
        return same_number(one, other)
    if form != "boxed":
        return False
    if "," in one or "," in other:
        right = [part.strip() for part in other.split(",")]
        return one.count(",") == other.count(",") and all(same_numbers(one, right))
    return same_formula(one, other)


def majority(answers: Sequence[str | None], form: AnswerForm) -> int | None:
    """The place of the answer that most others are like, None where nobody has one; of as many, the earliest."""
    votes = [
        sum(other is not None and alike(one, other, form) for other in answers) if one is not None else 0
        for one in answers
    ]
    return votes.index(max(votes)) if any(votes) else None


def _plain(answer: str) -> str:
    return "".join(answer.split()).casefold().rstrip(".")
