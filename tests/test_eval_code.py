"""HumanEval and LiveCodeBench on problems written here: programs run only if that is allowed, and need their tests."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from hogwild.errors import InputError
from hogwild.eval.problem import Problem, Source
from hogwild.eval.tasks import find_task
from hogwild.eval.tasks.livecodebench import same_output
from hogwild.team.answer import find_answer

HEAD = 'from math import sqrt\n\ndef helper(x):\n    return x + 1\n\ndef root(x):\n    """The root of x and one."""\n'
CHECK = "def check(candidate):\n    assert candidate(8) == 3\n    assert candidate(3) == helper(1)\n"
SUM = {"input": "2\n1 2\n", "output": "3\n"}
MORE = {"input": "3\n1 2 3\n", "output": "6"}
ADD = "n = input()\nprint(sum(map(int, input().split())))"


def problem(folder: Path, task: str, row: dict[str, Any]) -> Problem:
    (folder / f"{task}.jsonl").write_text(json.dumps(row) + "\n")
    return find_task(task).load(Source(folder=folder, run_code=True)).problems[0]


def human(folder: Path) -> Problem:
    return problem(folder, "humaneval", {"task_id": "X/7", "prompt": HEAD, "entry_point": "root", "test": CHECK})


def contest(folder: Path, **more: Any) -> Problem:
    row = {"question_id": "a1", "question_content": "Add.", "public_test_cases": json.dumps([SUM])}
    return problem(folder, "livecodebench", row | more)


def packed_text(text: str, before: bytes = b"", behind: bytes = b"") -> str:
    """As the published files pack a text: base64 of zlib of a pickle, whose few bytes are written here."""
    coded = text.encode()
    return base64.b64encode(
        zlib.compress(before + b"X" + len(coded).to_bytes(4, "little") + coded + behind + b".")
    ).decode()


@pytest.mark.parametrize("task", ["humaneval", "livecodebench"])
def test_nothing_runs_unless_it_is_allowed(tmp_path: Path, task: str) -> None:
    human(tmp_path)
    contest(tmp_path)
    with pytest.raises(InputError, match=f"{task} runs programs .* --allow-code-execution") as caught:
        find_task(task).load(Source(folder=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("def root(x):\n    return sqrt(helper(x))", "right"),
        ("import math\n\ndef root(x):\n    return math.sqrt(x + 1)", "right"),
        ("    return sqrt(helper(x))", "right"),
        ("def root(x):\n    return sqrt(x)", "wrong"),
        ("def other(x):\n    return 3", "wrong"),
        ("import os\nos._exit(0)", "wrong"),
        ("def root(x:", "wrong"),
        ("  \n", "nothing"),
        (None, "nothing"),
    ],
)
def test_humaneval(tmp_path: Path, answer: str | None, status: str) -> None:
    asked = human(tmp_path)
    assert asked.id == "humaneval/7"
    score = find_task("humaneval").score(asked, answer, "")
    assert (score.status, score.value) == (status, float(status == "right"))


def test_a_program_in_an_answer_is_found(tmp_path: Path) -> None:
    asked = human(tmp_path)
    text = "Here:\n\n```python\ndef root(x):\n    return sqrt(helper(x))\n```\n"
    assert find_answer(asked.question, "code", asked.question) is None
    assert find_task("humaneval").score(asked, find_answer(text, "code", asked.question), text).status == "right"


def test_livecodebench_programs(tmp_path: Path) -> None:
    packed = packed_text(json.dumps([MORE]))
    asked, task = contest(tmp_path, private_test_cases=packed), find_task("livecodebench")
    assert asked.meta["tests"] == [["2\n1 2\n", "3\n"], ["3\n1 2 3\n", "6"]]
    assert task.score(asked, ADD, "").status == "right"
    assert task.score(asked, "print(3)", "").status == "wrong"  # right in the public test alone
    assert task.score(asked, "print(3); print(6)", "").status == "wrong"
    assert task.score(asked, "1/0", "").status == "wrong"


def test_livecodebench_methods(tmp_path: Path) -> None:
    case = {"input": '[1, 2]\n"x"', "output": '["x", 3]'}
    starter = "class Solution:\n    def solve(self, a, b):\n        "
    more = {"starter_code": starter, "metadata": '{"func_name": "solve"}', "public_test_cases": json.dumps([case])}
    asked, task = contest(tmp_path, **more), find_task("livecodebench")
    assert starter.rstrip() in asked.question
    right = "class Solution:\n    def solve(self, a, b):\n        print('on the way')\n        return (b, sum(a))"
    assert task.score(asked, right, "").status == "right"
    assert task.score(asked, right.replace("sum", "max"), "").status == "wrong"
    assert task.score(asked, "print('[\"x\", 4]')", "").status == "wrong"


def test_a_packed_field_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evil = packed_text("touch evil", b"cos\nsystem\n(", b"tR")
    for packed in (evil, "no base64!", base64.b64encode(b"no zlib").decode(), "[1, 2]"):
        with pytest.raises(InputError, match="livecodebench.jsonl:1: private_test_cases cannot be read"):
            contest(tmp_path, private_test_cases=packed)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("output", "wanted", "same"),
    [
        ("1 2\n3\n", "1  2 \n3", True),
        ("0.50", "0.5", True),
        ("Yes", "yes", False),
        ("1\n2", "1 2", False),
        ("", "1", False),
        ("nan", "NaN", False),
    ],
)
def test_outputs(output: str, wanted: str, same: bool) -> None:
    assert same_output(output, wanted) is same
