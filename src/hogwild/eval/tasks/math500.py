"""MATH-500: five hundred problems of competitions for schools."""

from __future__ import annotations

from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.tasks.formula import FormulaTask

MATH500 = DataSet(
    files=("math500.jsonl", "math_500.jsonl", "MATH-500.jsonl", "MATH-500/test.jsonl"),
    hub="HuggingFaceH4/MATH-500",
)


def math500(name: str) -> FormulaTask:
    """The task of all of them."""
    return FormulaTask(name, MATH500, read_row)


def read_row(row: Row) -> Problem:
    """One problem, with its subject and its level from 1 to 5."""
    about = {field: row.values[field] for field in ("subject", "level") if field in row.values}
    number = row.text_or("unique_id", str(row.number))
    return Problem(f"math500/{number}", row.text("problem"), row.text("answer"), "boxed", meta=about)
