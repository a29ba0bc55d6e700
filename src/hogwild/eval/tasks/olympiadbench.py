"""OlympiadBench: open problems of mathematical olympiads, in English and without pictures."""

from __future__ import annotations

from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.tasks.formula import FormulaTask

OLYMPIADBENCH = DataSet(
    files=(
        "olympiadbench_maths.jsonl",
        "olympiadbench.jsonl",
        "OE_TO_maths_en_COMP.jsonl",
        "OlympiadBench/OE_TO_maths_en_COMP.jsonl",
    ),
    hub="Hothan/OlympiadBench",
    config="OE_TO_maths_en_COMP",
    split="train",
)


def olympiadbench(name: str) -> FormulaTask:
    """The task of all of them."""
    return FormulaTask(name, OLYMPIADBENCH, read_row)


def read_row(row: Row) -> Problem:
    """One problem; what a row has as ``context`` comes before its question."""
    context, question = row.text_or("context", "").strip(), row.text("question").strip()
    answer = row.text("final_answer", "answer")
    number = row.text_or("id", str(row.number))
    return Problem(f"olympiadbench/{number}", f"{context}\n\n{question}".strip(), answer, "boxed")
