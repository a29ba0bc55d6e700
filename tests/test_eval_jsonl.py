"""A user's own problems, and all that can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hogwild.errors import InputError
from hogwild.eval.problem import Loaded, Source
from hogwild.eval.tasks import find_task

ROWS = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(1, 9)]


def write(folder: Path, rows: list[Any], header: str | None = None) -> str:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if header is not None:
        (folder / "mine.jsonl.toml").write_text(header)
    return f"jsonl:{path}"


def load(folder: Path, rows: list[Any], header: str | None = None, **options: Any) -> Loaded:
    return find_task(write(folder, rows, header)).load(Source(**options))


def test_questions_and_answers(tmp_path: Path) -> None:
    loaded = load(tmp_path, ROWS)
    assert [problem.id for problem in loaded.problems] == ["1", "2", "3", "4", "5", "6"]
    assert [problem.id for problem in load(tmp_path, ROWS, kept=True).problems] == ["7", "8"]
    assert [problem.id for problem in load(tmp_path, ROWS, limit=2).problems] == ["1", "2"]
    first = loaded.problems[0]
    assert (first.question, first.answer, first.form) == ("What is 1 + 1?", "2", "boxed")
    assert loaded.origin == str(tmp_path / "mine.jsonl")
    task = find_task(write(tmp_path, ROWS))
    assert task.score(first, "2", "").status == "right"
    assert task.score(first, r"\frac{4}{2}", "").status == "right"
    assert task.score(first, "3", "").status == "wrong"
    assert task.score(first, None, "2").status == "nothing"


def test_templates(tmp_path: Path) -> None:
    header = """
question = "Say {{ word | upper }} in French."
answer = "{{ french[0] }}"
id = "word-{{ word }}"
form = "text"
parts = ["Say {{ word }}.", "Say it again."]
answer_tokens = 9
"""
    rows = [{"word": word, "french": [word + "e"]} for word in ("tabl", "port")]
    task = find_task(write(tmp_path, rows, header))
    problem = task.load(Source()).problems[0]
    assert (problem.id, problem.question, problem.answer) == ("word-tabl", "Say TABL in French.", "table")
    assert (problem.form, task.answer_tokens) == ("text", 9)
    assert problem.parts == ["Say tabl.", "Say it again."]
    assert task.score(problem, "  Table\n", "").status == "right"
    assert task.score(problem, "the table", "").status == "wrong"


def test_numbers(tmp_path: Path) -> None:
    task = find_task(write(tmp_path, [{"question": "?", "answer": "1,234.50"}], 'form = "number"'))
    problem = task.load(Source()).problems[0]
    assert task.score(problem, "1234.5", "").status == "right"
    assert task.score(problem, "1234.4", "").status == "wrong"


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([{"question": "?"}], None, "mine.jsonl:1 has none of the fields answer"),
        ([*ROWS[:1], {"question": "", "answer": 2}], None, "mine.jsonl:2: field 'question' is ''"),
        ([{"id": 7, **ROWS[0]}, {"id": 7, **ROWS[1]}], None, "mine.jsonl:2: id '7' is that of .*mine.jsonl:1, too"),
        ([["question"]], None, "mine.jsonl:1 is no JSON object"),
        ([], None, "mine.jsonl is empty"),
        ([{**ROWS[0], "parts": "one"}], None, "mine.jsonl:1: parts is 'one': give a list of texts"),
        ([{**ROWS[0], "parts": ["x"] * 99}], None, "mine.jsonl:1 has 99 parts: 64 is the most"),
        ([{**ROWS[0], "question": "x" * 200_001}], None, "mine.jsonl:1: the question is 200001 characters long"),
        (ROWS, "question = '{{ nothing }}'", "mine.jsonl:1: the template .*question fails .*'nothing' is undefined"),
        (ROWS, "question = '{{ question.__class__.mro() }}'", "mine.jsonl:1: the template .*question fails .*unsafe"),
        (ROWS, "answer = ' {{ \"\" }}'", "mine.jsonl:1: answer comes out empty"),
        (ROWS, "question = '{% if %}'", "mine.jsonl.toml: the template of question is broken"),
        (ROWS, "question = 3", "mine.jsonl.toml: question is 3: it must be a str"),
        (ROWS, "parts = [3]", "mine.jsonl.toml: parts is 3: it must be a text"),
        (ROWS, "form = 'box'", "mine.jsonl.toml: form is 'box': give one of text, boxed, number, code"),
        (ROWS, "answer_tokens = 0", "mine.jsonl.toml: answer_tokens is 0"),
        (ROWS, "answer_tokens = true", "mine.jsonl.toml: answer_tokens is True"),
        (ROWS, "more = 'x'", "mine.jsonl.toml: more is unknown: known are question, answer"),
        (ROWS, "question = ", "mine.jsonl.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, rows: list[Any], header: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load(tmp_path, rows, header)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file .*none.jsonl: give one"):
        find_task(f"jsonl:{tmp_path / 'none.jsonl'}")
