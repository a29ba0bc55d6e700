"""OlympiadBench: open problems of mathematical olympiads, in English and without pictures."""

from __future__ import annotations

import math
from typing import Any

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
    """One problem; what a row has as ``context`` comes before its question. ``error``: see `FormulaTask`."""
    context, question = row.text_or("context", "").strip(), row.text("question").strip()
    answer = row.text("final_answer", "answer")
    number = row.text_or("id", str(row.number))
    error = _tolerance(row.values.get("error"))
    meta = {} if error is None else {"error": error}
    return Problem(f"olympiadbench/{number}", f"{context}\n\n{question}".strip(), answer, "boxed", meta=meta)


def _tolerance(given: Any) -> str | None:
    """What a row has as ``error``, ``"1e-1"`` for example, or None: it has none, or one for each of several numbers."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return str(value) if 0 < value < math.inf else None
