"""LiveCodeBench: problems of programming contests, as its files have them (``code_generation_lite``, ``test*.jsonl``).

A program reads standard input and prints, or it is a method of the class ``Solution``. What it prints or returns is
compared here, outside its process, so it never sees what is expected.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from hogwild.errors import InputError
from hogwild.eval.loading import DataSet, Row
from hogwild.eval.problem import Problem
from hogwild.eval.sandbox import run_program
from hogwild.eval.tasks.code import IN_A_BLOCK, CodeTask

_FILES = ("livecodebench.jsonl", *(f"test{number}.jsonl" for number in ("", *range(6, 1, -1))))
_DATA = DataSet(_FILES, "livecodebench/code_generation_lite")
_LARGEST = 200 << 20  # bytes of the tests of one problem, unpacked

_CALL = """

import json as _json, sys as _sys
_given = [_json.loads(_line) for _line in _sys.stdin.read().splitlines() if _line.strip()]
print("\\n" + _json.dumps(getattr(Solution(), {name!r})(*_given)))
"""


def livecodebench(name: str) -> CodeTask:
    """The task."""
    return CodeTask(name, _DATA, _read, _passes)


def _read(row: Row) -> Problem:
    starter, tests = row.text_or("starter_code", "") if row.values.get("starter_code") else "", _cases(row, "public")
    if row.values.get("private_test_cases"):
        tests += _cases(row, "private")
    if not tests:
        raise InputError(f"{row.where} has no tests: give a file of this data set")
    function = str(_json(row.text_or("metadata", "{}"), row).get("func_name") or "")
    how = "It reads standard input and prints to standard output." if not starter else "Begin with this code:"
    question = f"{row.text('question_content').strip()}\n\n{IN_A_BLOCK} {how}"
    question += f"\n\n```python\n{starter.rstrip()}\n```" if starter else ""
    meta = {"tests": tests, "function": function if starter else ""}
    return Problem(f"livecodebench/{row.text('question_id')}", question, "", "code", meta=meta)


def _cases(row: Row, which: str) -> list[list[str]]:
    """Input and output of each test."""
    text = row.text(f"{which}_test_cases")
    try:
        if not text.lstrip().startswith("["):
            text = _unpacked(text)
        return [[str(case["input"]), str(case["output"])] for case in json.loads(text)]
    except (ValueError, TypeError, KeyError, zlib.error, binascii.Error) as error:
        raise InputError(f"{row.where}: {which}_test_cases cannot be read ({error}): give the file as it was") from None


def _unpacked(text: str) -> str:
    """The one text in a packed field. It is stored as a pickle, which is looked through and never run."""
    unpacker = zlib.decompressobj()
    packed = unpacker.decompress(base64.b64decode(text), _LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {_LARGEST} bytes")
    texts = [given for code, given, _ in pickletools.genops(packed) if "UNICODE" in code.name]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise ValueError("it holds more than one text")
    return texts[0]


def _json(text: str, row: Row) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{row.where}: metadata is no JSON ({error}): give the file as it was") from None
    return values if isinstance(values, dict) else {}


def _passes(problem: Problem, answer: str) -> bool:
    function, tests = problem.meta["function"], problem.meta["tests"]
    program = answer + _CALL.format(name=function) if function else answer
    return all(_is_right(program, given, wanted, bool(function)) for given, wanted in tests)


def _is_right(program: str, given: str, wanted: str, returned: bool) -> bool:
    ended = run_program(program, given)
    if not ended.passed:
        return False
    if not returned:
        return same_output(ended.output, wanted)
    try:
        return bool(json.loads(ended.output.rstrip().rpartition("\n")[2]) == json.loads(wanted))
    except ValueError:
        return False


def same_output(output: str, wanted: str) -> bool:
    """Whether the lines are the same, but for the space between words; numbers may be written in other ways."""
    lines, right = _words(output), _words(wanted)
    return len(lines) == len(right) and all(
        len(a) == len(b) and all(map(_alike, a, b)) for a, b in zip(lines, right, strict=True)
    )


def _words(text: str) -> Sequence[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False
