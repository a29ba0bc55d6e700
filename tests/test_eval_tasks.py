"""The tasks by name, and those that come from data sets, on problems written here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hogwild.errors import InputError, OptionError
from hogwild.eval.problem import Source
from hogwild.eval.tasks import find_task, list_tasks

SCHOOL = [
    ("Tom has 3 bags of 4 nuts. How many nuts has he?", "12"),
    ("A pen costs $2.50. What do 4 pens cost, in dollars?", "10"),
    ("Of 1,500 seats, 300 are free. How many are taken?", "1200"),
    ("It is 4 degrees and gets 9 degrees colder. How many degrees is it?", "-5"),
]


def folder(path: Path, name: str, rows: list[dict[str, object]]) -> Source:
    (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Source(folder=path)


def school(path: Path) -> Source:
    rows: list[dict[str, object]] = [{"id": i, "question": q, "answer": a} for i, (q, a) in enumerate(SCHOOL)]
    return folder(path, "gsm8k_test.jsonl", rows)


def test_names() -> None:
    assert ("gsm8k", "school problems in words; the answer is a number") in list_tasks()
    assert find_task("gsm8k").name == "gsm8k"
    with pytest.raises(OptionError, match="task 'gsm9k' is unknown: give one of gsm8k"):
        find_task("gsm9k")


def test_gsm8k_from_a_folder(tmp_path: Path) -> None:
    task, source = find_task("gsm8k"), school(tmp_path)
    loaded = task.load(source)
    assert [problem.id for problem in loaded.problems] == ["gsm8k/0", "gsm8k/1", "gsm8k/2"]
    kept = task.load(Source(folder=tmp_path, kept=True))
    assert [problem.answer for problem in kept.problems] == ["-5"]
    first = loaded.problems[0]
    assert first.form == "number"
    assert first.question == SCHOOL[0][0]
    assert task.score(first, "12.0", "").status == "right"
    assert task.score(first, "13", "").value == 0.0
    assert task.score(first, None, "no idea").status == "nothing"
    assert len(loaded.checksum) == 64
    assert loaded.origin.endswith("gsm8k_test.jsonl")


def test_gsm8k_as_published(tmp_path: Path) -> None:
    source = folder(
        tmp_path, "gsm8k.jsonl", [{"question": "1,000 and 5?", "answer": "1000+5=<<1000+5=1005>>\n#### 1,005"}]
    )
    (problem,) = find_task("gsm8k").load(source).problems
    assert problem.answer == "1005"


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no file gsm8k_test.jsonl or .*: give --data FOLDER or set HOGWILD_DATA"):
        find_task("gsm8k").load(Source(folder=tmp_path))
    with pytest.raises(InputError, match=r"there is no folder .*: give --data FOLDER"):
        find_task("gsm8k").load(Source(folder=tmp_path / "none"))
