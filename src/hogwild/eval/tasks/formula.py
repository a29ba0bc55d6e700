"""What the tasks whose answer is a formula in a box have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hogwild.eval.answers import near_number, same_formula
from hogwild.eval.formulas import need_math_verify
from hogwild.eval.loading import DataSet, Row, load_problems
from hogwild.eval.problem import Loaded, Problem, Score, Source


@dataclass(frozen=True)
class FormulaTask:
    """Problems of a data set, compared by math-verify. ``read`` makes one of a row.

    Where a problem's ``meta`` has an ``error``, as text, a number that is off by no more is right, too.
    """

    name: str
    data: DataSet
    read: Callable[[Row], Problem]
    answer_tokens: int | None = None

    def load(self, source: Source) -> Loaded:
        """The problems. Raises `InputError` where there are none, or math-verify is missing."""
        need_math_verify()
        return load_problems(self.data, source, self.read)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        """1 for the same formula, or a number that is near enough, else 0."""
        if answer is None:
            return Score(0.0, "nothing")
        error = problem.meta.get("error")
        right = same_formula(answer, problem.answer) or (error and near_number(answer, problem.answer, Fraction(error)))
        return Score(1.0, "right") if right else Score(0.0, "wrong")
