"""HumanEval: a function from its head and its docstring; it counts if the problem's own tests pass."""

from __future__ import annotations

import re

from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.sandbox import run_tests
from hogwild.eval.tasks.code import IN_A_BLOCK, CodeTask

_DATA = DataSet(("humaneval.jsonl", "HumanEval.jsonl"), "openai/openai_humaneval")


def humaneval(name: str) -> CodeTask:
    """The task."""
    return CodeTask(name, _DATA, _read, _passes)


def _read(row: Row) -> Problem:
    head, wanted = row.text("prompt"), row.text("entry_point")
    question = f"Complete this function. {IN_A_BLOCK}\n\n```python\n{head.strip()}\n```"
    meta = {"head": head, "function": wanted, "tests": row.text("test")}
    number = row.text("task_id").rpartition("/")[2]
    return Problem(f"humaneval/{number}", question, row.text_or("canonical_solution", ""), "code", meta=meta)


def _passes(problem: Problem, answer: str) -> bool:
    """Whether the tests pass: the head stands before the answer, for its imports and helpers, or as its first lines."""
    head, function = problem.meta["head"], problem.meta["function"]
    whole = re.search(rf"^(?:async )?def {re.escape(function)}\b", answer, re.MULTILINE)
    program = f"{head}\n{answer}" if whole else head.rstrip() + "\n" + answer.strip("\n")
    return run_tests(program, f"{problem.meta['tests']}\n\ncheck({function})\n").passed
