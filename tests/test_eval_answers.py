"""Answers against the right ones: numbers, lists of numbers, and formulas that take too long."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest

from hogwild.eval.answers import read_number, same_formula, same_number, same_numbers, split_numbers
from hogwild.eval.formulas import Verifier


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
