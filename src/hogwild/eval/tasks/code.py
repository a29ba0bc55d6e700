"""What tasks with programs share: they run only if the user allows it, and a program counts if its tests pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hogwild.errors import InputError
from hogwild.eval.loading import DataSet, Row, load_problems
from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.eval.sandbox import isolation

IN_A_BLOCK = "Write the whole program in one fenced block of code that begins with ```python."


@dataclass(frozen=True)
class CodeTask:
    """See `hogwild.eval.problem.Task`. ``passes`` runs the tests of a problem on a program."""

    name: str
    data: DataSet
    read: Callable[[Row], Problem]
    passes: Callable[[Problem, str], bool]

    @property
    def answer_tokens(self) -> int | None:
        """The default of the form ``code``."""
        return None

    def load(self, source: Source) -> Loaded:
        """The problems. Raises `InputError` unless the user allows that programs of the model run here."""
        if not source.run_code:
            raise InputError(
                f"{self.name} runs programs that a model wrote, on this machine ({isolation()}): "
                "read docs/eval.md, then give --allow-code-execution"
            )
        return load_problems(self.data, source, self.read)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        """All or nothing: every test must pass."""
        if answer is None or not answer.strip():
            return Score(0.0, "nothing")
        return Score(1.0, "right") if self.passes(problem, answer) else Score(0.0, "wrong")
