"""The tasks by name, and those that come from data sets, on problems written here."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hogwild.errors import InputError, OptionError
from hogwild.eval.problem import Source
from hogwild.eval.tasks import find_task, list_tasks
from hogwild.team.answer import find_answer

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
    whole = task.load(Source(folder=tmp_path, whole=True)).problems
    assert whole == [*loaded.problems, *kept.problems]
    with pytest.raises(OptionError, match="--kept and --whole cannot be had together"):
        Source(folder=tmp_path, kept=True, whole=True)
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


def test_several_questions_in_one_prompt(tmp_path: Path) -> None:
    task, source = find_task("gsm8k-x3"), school(tmp_path)
    (problem,) = task.load(source).problems
    assert problem.form == "boxed"
    assert len(problem.parts) == 3
    assert all(part in problem.question for part in problem.parts)
    assert problem.answer == ", ".join(problem.meta["answers"])
    assert task.load(source).problems == [problem]
    assert find_answer(problem.question, "boxed", problem.question) is None
    score = task.score(problem, problem.answer, "")
    assert (score.value, score.status, score.parts) == (1.0, "right", [True, True, True])
    first = problem.meta["answers"][0]
    score = task.score(problem, ", ".join([f"{first} nuts", "99", "98"]), "")
    assert (round(score.value, 3), score.status, score.parts) == (0.333, "partly", [True, False, False])
    assert task.score(problem, "99", "").status == "wrong"
    assert task.score(problem, None, "").parts == (False, False, False)


def test_questions_are_in_one_prompt_only(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": f"What is {i} and {i}?", "answer": str(2 * i)} for i in range(100)]
    source = folder(tmp_path, "gsm8k.jsonl", rows)
    task = find_task("gsm8k-x7")
    used = [part for problem in task.load(source).problems for part in problem.meta["answers"]]
    kept = task.load(Source(folder=tmp_path, kept=True)).problems
    aside = [part for problem in kept for part in problem.meta["answers"]]
    assert (len(used), len(aside)) == (70, 21)
    assert len({*used, *aside}) == 91
    assert min(map(int, aside)) == 150
    other = task.load(Source(folder=tmp_path, seed=1, limit=2)).problems
    assert len(other) == 2
    assert other[0].meta != task.load(source).problems[0].meta


def test_too_few_and_too_many_questions(tmp_path: Path) -> None:
    for name in ("gsm8k-x1", "gsm8k-x21"):
        with pytest.raises(OptionError, match="give 2 to 20 questions a prompt"):
            find_task(name)
    with pytest.raises(InputError, match="has too few questions for gsm8k-x4"):
        find_task("gsm8k-x4").load(school(tmp_path))
    assert find_task("gsm8k-x20").answer_tokens == 240
    assert find_task("gsm8k-x5").answer_tokens == 64


FORMULAS: list[tuple[str, str, dict[str, object], str, str, str]] = [
    (
        "math500",
        "math500.jsonl",
        {"problem": "Solve $x^2=2$.", "answer": r"\pm\sqrt2", "level": 1, "unique_id": "a/1.json"},
        "math500/a/1.json",
        r"\sqrt{2}, -\sqrt{2}",
        r"\sqrt{2}",
    ),
    (
        "olympiadbench",
        "OlympiadBench/OE_TO_maths_en_COMP.jsonl",
        {"context": "Let $n>0$.", "question": "Add up 1 to $n$.", "final_answer": [r"$\frac{n(n+1)}{2}$"], "id": 7},
        "olympiadbench/7",
        r"\frac{1}{2}(n^2+n)",
        r"\frac{n(n-1)}{2}",
    ),
    ("aime", "aime_2024.jsonl", {"problem": "What is 5 squared?", "answer": "025"}, "aime/0", "25", "250"),
    ("limo", "limo.jsonl", {"question": "Two thirds?", "answer": r"\frac{2}{3}"}, "limo/0", "2/3", "0.67"),
]


@pytest.mark.parametrize(("name", "file", "row", "number", "right", "wrong"), FORMULAS, ids=[c[0] for c in FORMULAS])
def test_formulas(
    name: str, file: str, row: dict[str, object], number: str, right: str, wrong: str, tmp_path: Path
) -> None:
    (tmp_path / "OlympiadBench").mkdir()
    task = find_task(name)
    (problem,) = task.load(folder(tmp_path, file, [row])).problems
    assert (problem.id, problem.form) == (number, "boxed")
    assert task.score(problem, right, "").status == "right"
    assert task.score(problem, problem.answer, "").value == 1.0
    assert task.score(problem, wrong, "").status == "wrong"
    assert task.score(problem, None, "").status == "nothing"


def test_a_context_comes_before_the_question(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"context": "Let $n=2$.", "question": "What is $n$?", "final_answer": ["2"]}]
    source = folder(tmp_path, "olympiadbench.jsonl", rows)
    assert find_task("olympiadbench").load(source).problems[0].question == "Let $n=2$.\n\nWhat is $n$?"


@pytest.mark.parametrize(
    ("error", "answer", "status"),
    [
        ("1e-1", "3.2", "right"),
        ("1e-1", r"$\frac{32}{10}$", "right"),
        (0.1, "3.0", "right"),
        ("1e-1", "3.21", "wrong"),
        ("1e-1", "about x", "wrong"),
        (None, "3.1", "right"),
        (None, "3.2", "wrong"),
        ("1e-1,1e-2", "3.2", "wrong"),
        ("-1", "3.2", "wrong"),
        ("inf", "9", "wrong"),
    ],
)
def test_an_error_that_is_allowed(error: object, answer: str, status: str, tmp_path: Path) -> None:
    row = {"question": "About what is it?", "final_answer": ["$3.1$"], "error": error}
    task = find_task("olympiadbench")
    (problem,) = task.load(folder(tmp_path, "olympiadbench.jsonl", [row])).problems
    assert task.score(problem, answer, "").status == status
    assert json.loads(json.dumps(asdict(problem)))["id"] == problem.id


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"question": "1+1?"}', "has none of the fields answer"),
        ('{"question": 3, "answer": {}}', "field 'answer' is {}; it must be text or a number"),
        ('{"question": "1+1?", "answer": "  "}', "field 'answer' is '  '"),
        ('{"question": "1+1?", "answer": true}', "field 'answer' is True"),
    ],
)
def test_a_bad_line_is_named(line: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "gsm8k.jsonl").write_text('{"question": "1+1?", "answer": 2}\n\n' + line + "\n")
    with pytest.raises(InputError) as error:
        find_task("gsm8k").load(Source(folder=tmp_path))
    assert f"gsm8k.jsonl:3 {fault}" in str(error.value).replace(":3: ", ":3 ")
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.jsonl").write_bytes(b"\n \n")
    with pytest.raises(InputError, match="is empty"):
        find_task("gsm8k").load(Source(folder=tmp_path))
    (tmp_path / "gsm8k.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="cannot be read .*: give a JSONL file in UTF-8"):
        find_task("gsm8k").load(Source(folder=tmp_path))


class _Hub:
    """Stands for the package datasets: what a hub gives, or how it fails."""

    def __init__(self, rows: list[dict[str, object]] | Exception) -> None:
        self.rows = rows
        self.asked: tuple[str, str | None, str] | None = None

    def load_dataset(self, name: str, config: str | None, *, split: str) -> list[dict[str, object]]:
        self.asked = (name, config, split)
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def test_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = _Hub([{"question": "1+1?", "answer": "#### 2"}])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    loaded = find_task("gsm8k").load(Source())
    assert hub.asked == ("openai/gsm8k", "main", "test")
    assert loaded.origin == "hub:openai/gsm8k/main"
    assert loaded.problems[0].answer == "2"
    assert len(loaded.checksum) == 64


def test_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", _Hub(ConnectionError("no\nroute")))
    fault = r"openai/gsm8k cannot be loaded from the hub \(no route\): give --data FOLDER or set HOGWILD_DATA"
    with pytest.raises(InputError, match=fault):
        find_task("gsm8k").load(Source())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"the package datasets is missing: install 'hogwild\[eval\]', or give --data"):
        find_task("gsm8k").load(Source())
