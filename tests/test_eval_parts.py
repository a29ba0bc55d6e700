"""Generated tasks of parts: right by construction, the same again, and scored as models write."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from random import Random

import pytest

from hogwild.errors import OptionError
from hogwild.eval.listed import right_items, same_item
from hogwild.eval.problem import Problem, Source
from hogwild.eval.tasks import find_task
from hogwild.eval.tasks.drawn import COUNT
from hogwild.eval.tasks.parts import parts
from hogwild.eval.tasks.pieces import KINDS, draw
from hogwild.team.answer import find_answer

NAMES = [f"parts-{kind}-{count}" for kind in ("independent", "chain", "search", "trap") for count in (2, 6, 12)]


def problems(name: str, **options: object) -> list[Problem]:
    return list(parts(name).load(Source(**({"limit": 30} | options))).problems)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_same_again_and_a_limit_takes_the_first_ones(name: str) -> None:
    task = parts(name)
    loaded = task.load(Source(limit=20))
    assert task.name == name
    assert loaded == task.load(Source(limit=20))
    assert list(loaded.problems[:5]) == list(task.load(Source(limit=5)).problems)
    assert loaded.checksum != task.load(Source(limit=20, seed=1)).checksum
    assert len({problem.id for problem in loaded.problems}) == 20
    assert json.loads(json.dumps(asdict(loaded.problems[0])))["question"] == loaded.problems[0].question


@pytest.mark.parametrize("name", NAMES)
def test_kept_problems_are_others(name: str) -> None:
    kept, rest = problems(name, kept=True, limit=COUNT), problems(name, limit=None)
    assert len(rest) == COUNT
    assert not {problem.id for problem in kept} & {problem.id for problem in rest}
    assert not {problem.question for problem in kept} & {problem.question for problem in rest}


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answers_score_full_and_the_question_shows_all_parts(name: str) -> None:
    task = parts(name)
    for problem in problems(name):
        assert task.score(problem, problem.answer, "").value == 1
        assert len(problem.parts) == len(problem.meta["parts"]) == task.count
        assert task.score(problem, "999", "").value == 0 if "search" in name else True
        assert all(len(gold) < 60 and "," not in gold for gold in problem.meta["parts"])
        if "search" not in name:
            assert all(f"{place}. {part}" in problem.question for place, part in enumerate(problem.parts, 1))
            assert task.score(problem, problem.answer, "").parts == [True] * task.count
        assert find_answer(problem.question, "boxed", problem.question) is None  # the task's own box is none


def test_sums_are_sums() -> None:
    """Gold answers of what can be calculated from the text alone."""
    for problem in [*problems("parts-independent-12"), *problems("parts-trap-6"), *problems("parts-search-6")]:
        for asked, gold in zip(problem.parts, problem.meta["parts"], strict=True):
            if found := re.match(r"Work out ([0-9 +]+[0-9])", asked):
                assert sum(map(int, found[1].split("+"))) == int(gold)
            if "largest" in asked:
                assert max(map(int, re.findall("[0-9]+", asked))) == int(gold)


def test_a_chain_is_followed_by_its_own_words() -> None:
    for problem in problems("parts-chain-12"):
        value = 0
        for place, (asked, gold) in enumerate(zip(problem.parts, problem.meta["parts"], strict=True)):
            numbers = [int(number) for number in re.findall("[0-9]+", asked.replace(f"part {place}", "it"))]
            value = {
                "Add": lambda n: sum(n) if len(n) == 2 else value + n[0],  # noqa: B023
                "Subtract": lambda n: value - n[0],  # noqa: B023
                "Multiply": lambda n: value * n[0],  # noqa: B023
                "Divide": lambda n: value / n[0],  # noqa: B023
            }[asked.split()[0]](numbers)
            assert value == int(gold)
            assert 1 <= value <= 200


def test_a_search_has_one_answer() -> None:
    for problem in problems("parts-search-12"):
        assert [gold for gold in problem.meta["parts"] if int(gold) % 10 == 0] == [problem.answer]
        assert parts("parts-search-12").score(problem, problem.answer + "7", "").status == "wrong"
    assert parts("parts-search-12").score(problem, None, "12").status == "nothing"


def test_every_kind_of_question_has_one_short_answer() -> None:
    for kind in KINDS:
        for seed in range(50):
            asked, gold = kind(Random(seed))
            assert asked[-1] in ".?"
            assert gold
            assert gold not in ("None", "nan")
    assert len({question.split()[0] + question[-20:] for question, _ in draw(Random(1), 12)}) == 12


@pytest.mark.parametrize(
    "name", ["parts-independent-1", "parts-chain-13", "parts-search-999", "parts-other-6", "parts-"]
)
def test_what_cannot_be_is_one_line(name: str) -> None:
    with pytest.raises(OptionError, match="give 2 to 12 parts") as caught:
        parts(name)
    assert "\n" not in str(caught.value)


def test_the_name_alone_is_six_independent_parts() -> None:
    named = find_task("parts-independent-6").load(Source(limit=3))
    assert find_task("parts").load(Source(limit=3)).problems == named.problems


GOLDS = ["12", "cat", "3-5-9", "lamp-lamp", "mice", "Tuesday"]


@pytest.mark.parametrize(
    "answer",
    [
        "12, cat, 3-5-9, lamp-lamp, mice, Tuesday",
        "12,cat,3-5-9,lamp-lamp,mice,tuesday",
        "12; Cat; 3 - 5 - 9; lamp lamp; MICE; Tuesday.",
        r"12, \text{cat}, 3-5-9, \text{lamp-lamp}, \text{mice}, \text{Tuesday}",
        "12, \"cat\", 3-5-9, “lamp-lamp”, 'mice', Tuesday",
        "1. 12, 2. cat, 3. 3-5-9, 4. lamp-lamp, 5. mice, 6. Tuesday",
        "1. 12 2. cat 3. 3-5-9 4. lamp-lamp 5. mice 6. Tuesday",
        "6. Tuesday, 5. mice, 4. lamp-lamp, 3. 3-5-9, 2. cat, 1. 12",
        "a1 = 12, a2 = cat, a3 = 3-5-9, a4 = lamp-lamp, a5 = mice, a6 = Tuesday",
        "12\ncat\n3-5-9\nlamp-lamp\nmice\nTuesday",
        "[12, cat, 3-5-9, lamp-lamp, mice, Tuesday]",
        "twelve, cat, 3-5-9, lamp-lamp, mice, Tuesday",
        "5 + 7 = 12, cat, 3-5-9, lamp-lamp, mice, Tuesday, and more",
    ],
)
def test_lists_as_models_write_them(answer: str) -> None:
    assert right_items(answer, "", GOLDS) == [True] * 6


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("12, cat", [1, 1, 0, 0, 0, 0]),
        ("cat, 12, 3-5-9", [0, 0, 1, 0, 0, 0]),
        ("12, dog, 3-5-9, lamp-lamp, mice, Tuesday", [1, 0, 1, 1, 1, 1]),
        ("1. 12, 3. 3-5-9", [1, 0, 1, 0, 0, 0]),
        ("112, cats, 3-5-9-10, lamp, mouse, Tuesday or Monday", [0, 0, 0, 0, 0, 0]),
        ("12 cat 3-5-9", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_items_count_at_their_place(answer: str, right: list[int]) -> None:
    assert right_items(answer, "1. 12", GOLDS) == [bool(one) for one in right]


def test_without_a_box_the_numbered_lines_count() -> None:
    text = "2. The word is cat.\n1. 5 + 7 = 12\n4. lamp-lamp 5. mice\n**6.** Tuesday\n7. more"
    assert right_items(None, text, GOLDS) == [True, True, False, True, True, True]
    assert right_items(None, "1. 13\n1. 12", GOLDS)[0]  # type: ignore[index]  # the last word counts
    assert right_items(None, "1. It is 12. 4. lamp-lamp", GOLDS) == [False] * 6
    assert right_items(None, "1. 12 or 5. mice\n2. cat", GOLDS)[:2] == [False, True]  # type: ignore[index]
    assert right_items(None, "I do not know 12 or 3.5", GOLDS) is None
    assert right_items("", "", GOLDS) is None
    score = parts("parts-independent-2").score(problems("parts-independent-2")[0], None, "?")
    assert (score.value, score.status, score.parts) == (0.0, "nothing", (False, False))


def test_decimals_and_guesses_are_no_labels() -> None:
    assert right_items("1.5, 2.5", "", ["1.5", "2.5"]) == [True, True]
    assert not same_item("12 or 13", "12")
    assert not same_item("not 12", "12")
    assert same_item("There are 12 eggs: 12", "12")


@pytest.mark.parametrize(
    "text", ["1. " * 20_000, "((((" * 20_000, "a1=" * 20_000, "," * 50_000, "\\text" * 20_000, " -" * 30_000]
)
def test_no_text_is_too_much(text: str) -> None:
    """Whatever a model repeats for ever is read in a moment, and is wrong."""
    assert not any(right_items(text, text, GOLDS) or ())
    assert not any(right_items(None, text, GOLDS) or ())
