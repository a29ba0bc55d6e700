r"""GSM8K, several questions in one prompt: the answers stand in one box, and the score is the share that is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hogwild.errors import InputError, OptionError
from hogwild.eval.answers import same_numbers
from hogwild.eval.loading import kept_apart, load_rows
from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.eval.tasks.gsm8k import GSM8K, read_row
from hogwild.team.settings import ANSWER_TOKENS

FEWEST, MOST = 2, 20
"""Questions in one prompt."""

_TOKENS_EACH = 12  # of an answer in the box: seven digits, one token each, and what is between two answers


@dataclass(frozen=True)
class _Gsm8kX:
    name: str
    count: int

    @property
    def answer_tokens(self) -> int:
        return max(ANSWER_TOKENS["boxed"], _TOKENS_EACH * self.count)

    def load(self, source: Source) -> Loaded:
        loaded = load_rows(GSM8K, source)
        questions = [read_row(row) for row in kept_apart(loaded.rows, source)]
        random.Random(source.seed).shuffle(questions)
        groups = [questions[i : i + self.count] for i in range(0, len(questions) - self.count + 1, self.count)]
        if not groups:
            raise InputError(f"{loaded.origin} has too few questions for {self.name}: give a longer file")
        return Loaded([_join(group) for group in groups[: source.limit]], loaded.origin, loaded.checksum)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        if answer is None:
            return Score(0.0, "nothing", (False,) * self.count)
        parts = same_numbers(answer, problem.meta["answers"])
        share = sum(parts) / len(parts)
        return Score(share, "right" if share == 1 else "partly" if share else "wrong", parts)


def gsm8k_x(name: str) -> _Gsm8kX:
    """The task of several questions a prompt. Raises `OptionError` for too few or too many."""
    count = int(name.rpartition("x")[2])
    if not FEWEST <= count <= MOST:
        raise OptionError(f"task {name!r}: give {FEWEST} to {MOST} questions a prompt, as in gsm8k-x5")
    return _Gsm8kX(name, count)


def _join(questions: Sequence[Problem]) -> Problem:
    """One problem of several. Its id is that of its questions."""
    parts = [f"Problem {place}: {each.question}" for place, each in enumerate(questions, 1)]
    answers = [each.answer for each in questions]
    box = ", ".join(f"a{place}" for place in range(1, len(parts) + 1))
    count = len(parts)
    question = (
        f"Solve these {count} problems. Each answer is a number. When all are solved, give the {count} answers in one "
        f"box, in the order of the problems, with commas between them: \\boxed{{{box}}}. Write no other box.\n\n"
        + "\n\n".join(parts)
    )
    number = "+".join(each.id.removeprefix("gsm8k/") for each in questions)
    name = f"gsm8k-x{count}/{number}"
    return Problem(name, question, ", ".join(answers), "boxed", parts, meta={"answers": answers})
