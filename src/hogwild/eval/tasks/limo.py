"""LIMO: a few hundred hard problems, chosen to teach reasoning."""

from __future__ import annotations

from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.tasks.formula import FormulaTask

LIMO = DataSet(files=("limo.jsonl", "LIMO/limo.jsonl"), hub="GAIR/LIMO", split="train")


def limo(name: str) -> FormulaTask:
    """The task of all of them."""
    return FormulaTask(name, LIMO, read_row)


def read_row(row: Row) -> Problem:
    """One problem."""
    number = row.text_or("id", str(row.number))
    return Problem(f"limo/{number}", row.text("question", "problem"), row.text("answer"), "boxed")
