"""GSM8K: problems in words from school, whose answer is one number."""

from __future__ import annotations

from dataclasses import dataclass

from hogwild.eval.answers import same_number
from hogwild.eval.loading import DataSet, Row, load_problems
from hogwild.eval.problem import Loaded, Problem, Score, Source

GSM8K = DataSet(
    files=("gsm8k_test.jsonl", "gsm8k.jsonl", "gsm8k/test.jsonl"),
    hub="openai/gsm8k",
    config="main",
)


@dataclass(frozen=True)
class _Gsm8k:
    name: str
    answer_tokens: int | None = None

    def load(self, source: Source) -> Loaded:
        return load_problems(GSM8K, source, read_row)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        if answer is None:
            return Score(0.0, "nothing")
        return Score(1.0, "right") if same_number(answer, problem.answer) else Score(0.0, "wrong")


def gsm8k(name: str) -> _Gsm8k:
    """The task of one question each."""
    return _Gsm8k(name)


def read_row(row: Row) -> Problem:
    """One problem. In the original files ``answer`` holds the solution too, and the number after ``####``."""
    answer = row.text("answer").rpartition("####")[2].strip().replace(",", "")
    return Problem(f"gsm8k/{row.text_or('id', str(row.number))}", row.text("question").strip(), answer, "number")
