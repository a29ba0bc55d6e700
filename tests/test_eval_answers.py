"""Answers against the right ones: numbers, lists of numbers, and formulas that take too long."""

from __future__ import annotations

import threading
from fractions import Fraction

import math_verify
import pytest

from golden_answers import FORMULA, NUMBER, NUMBERS, Golden
from hogwild.eval.answers import read_number, same_formula, same_number, same_numbers, split_numbers
from hogwild.eval.formulas import Verifier
from hogwild.team.answer import find_answer

MATH_VERIFY_ERRS = {
    (r"First \boxed{1}, but no: \boxed{2}", "2"): "it takes all boxes of a text for one set; here the last one counts",
    (r"\fbox{42}", "42"): "it knows no other box",
    (r"\boxed B", r"\text{(B)}"): "it knows no box without braces",
    (r"\boxed{17.5}", "17.5%"): "it takes 8 for 8%, but not 17.5 for 17.5%",
}
"""Text and right answer where math-verify, given the whole text, does not come to the verdict by hand, and why."""


def test_there_are_golden_cases_enough() -> None:
    assert len(NUMBER) + len(NUMBERS) + len(FORMULA) >= 200
    for cases in (NUMBER, NUMBERS, FORMULA):
        assert len({(case.text, case.right) for case in cases}) == len(cases)


@pytest.mark.parametrize("case", NUMBER, ids=lambda case: f"{case.text} = {case.right}"[-40:])
def test_golden_numbers(case: Golden) -> None:
    answer = find_answer(case.text, "number", case.task)
    assert (answer is not None and same_number(answer, case.right)) == case.score


@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case.text)
def test_golden_lists(case: Golden) -> None:
    answer = find_answer(case.text, "boxed", case.task)
    assert sum(same_numbers(answer or "", case.right.split(", "))) == case.score


@pytest.mark.parametrize("case", FORMULA, ids=lambda case: f"{case.text} = {case.right}"[-40:])
def test_golden_formulas(case: Golden) -> None:
    answer = find_answer(case.text, "boxed", case.task)
    assert (answer is not None and same_formula(answer, case.right)) == case.score


def test_math_verify_itself_comes_to_the_same_verdicts() -> None:
    """From the whole text, with its own search for the answer. It cannot know of a task: those cases are left out."""
    wrong = set()
    cases = [case for case in FORMULA if not case.task]
    for case in cases:
        gold = math_verify.parse(f"${case.right.strip('$')}$", parsing_timeout=None)
        found = math_verify.parse(case.text, parsing_timeout=None)
        if math_verify.verify(gold, found, timeout_seconds=None) != case.score:
            wrong.add((case.text, case.right))
    assert len(cases) >= 120
    assert wrong == set(MATH_VERIFY_ERRS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        ("$1,234.50", Fraction("1234.5")),
        (r"\$1{,}234", Fraction(1234)),
        (r"10,\!080", Fraction(10080)),
        ("−3/4", Fraction(-3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"\frac34", Fraction(3, 4)),
        ("1 1/2 cups", Fraction(3, 2)),
        (r"-2\frac{1}{2}", Fraction(-5, 2)),
        ("15%", Fraction(15)),
        ("x = 7", Fraction(7)),
        ("1.5e3", Fraction(1500)),
        ("1e-2", Fraction(1, 100)),
        ("1/0", None),
        (r"1\frac{1}{0}", None),
        ("3 or 4", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_a_number(text: str, value: Fraction | None) -> None:
    assert read_number(text) == value


def test_what_is_no_number_is_not_even_itself() -> None:
    assert not same_number("many", "many")


@pytest.mark.parametrize(
    ("text", "count", "parts"),
    [
        ("1,234, 5", 2, ["1,234", "5"]),
        ("1,234,5", 2, ["1234", "5"]),
        ("100,200,300", 3, ["100", "200", "300"]),
        ("100,200,300", 1, ["100,200,300"]),
        (r"1{,}234,5", 2, ["1234", "5"]),
        ("(1, 2, 3)", 3, ["1", "2", "3"]),
        ("1; 2; 3", 3, ["1", "2", "3"]),
        ("1, 2 and 3", 3, ["1", "2", "3"]),
        (r"1,\ 2,\quad 3", 3, ["1", r"\ 2", "3"]),
        ("1\n2\n3", 3, ["1", "2", "3"]),
        ("1, 2", 3, ["1", "2"]),
        ("", 2, []),
    ],
)
def test_a_list(text: str, count: int, parts: list[str]) -> None:
    assert split_numbers(text, count) == parts


def test_each_number_has_its_place() -> None:
    assert same_numbers("18, $70,000$, 3", ["18", "70000", "4"]) == [True, True, False]
    assert same_numbers("70000, 18", ["18", "70000", "4"]) == [False, False, False]
    assert same_numbers("18", ["18", "70000"]) == [True, False]


def test_a_formula_from_any_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(same_formula(r"\sqrt{8}", r"2\sqrt{2}")))
    thread.start()
    thread.join()
    assert found == [True]


def test_a_monster_is_given_up_and_the_next_is_compared() -> None:
    verifier = Verifier(seconds=3.0)
    try:
        assert verifier.compare("x+1", "1+x")
        assert not verifier.compare("9^{9^{9^9}}", "5")
        assert verifier.compare("2x", "x+x")
    finally:
        verifier.close()


@pytest.mark.parametrize("text", ["", "$", "}{", r"\frac{", "[" * 40, "1" * 3000, "\x00", "\ud800", "答え"])
def test_rubbish_is_wrong(text: str) -> None:
    assert not same_formula(text, "5")
