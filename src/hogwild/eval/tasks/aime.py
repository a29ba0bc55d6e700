"""AIME: problems of the American Invitational Mathematics Examination; each answer is a whole number up to 999."""

from __future__ import annotations

from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.tasks.formula import FormulaTask

AIME = DataSet(
    files=("aime.jsonl", "aime_2024.jsonl", "aime24.jsonl", "aime_2025.jsonl", "aime25.jsonl"),
    hub="HuggingFaceH4/aime_2024",
    split="train",
)


def aime(name: str) -> FormulaTask:
    """The task of all of them."""
    return FormulaTask(name, AIME, read_row)


def read_row(row: Row) -> Problem:
    """One problem. An answer may be written with zeros before it."""
    answer = row.text("answer", "Answer").strip()
    number = row.text_or("id", str(row.number))
    return Problem(f"aime/{number}", row.text("problem", "question", "Problem"), answer.lstrip("0") or "0", "boxed")
