r"""Compare an answer with the right one: numbers exactly, lists of numbers one by one, formulas by math-verify."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from hogwild.eval.formulas import verified
from hogwild.team.number import only_number

LONGEST = 2000
"""Characters of an answer that are looked at; a longer one is wrong."""

_THOUSANDS = re.compile(r"\{,\}|,\\!")
_LOOSE = re.compile(r"[,;]?\s*(?:\n|\\\\|\\q?quad\b|\band\b)\s*|,(?=[\s~$\\])|;")
_TIGHT = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_LABEL = re.compile(r"^[\s(]*(?:problem|answer|a)?[ _]?(?P<number>[0-9]{1,2})[.):]+[ ~]+(?=\S)", re.IGNORECASE)
_BRACKETS = re.compile(r"^\s*(?:\\left)?(?:\\\{|[(\[])|(?:\\right)?(?:\\\}|[)\]])\s*$")
_LOOKS = re.compile(r"\\left\b|\\right\b|\\[,;!: %$]|[\s$%~]|\\(?:text|mathrm|mbox)(?=\{)|\\displaystyle\b")


def same_formula(answer: str, right: str) -> bool:
    r"""Whether both are the same formula: written alike but for spaces, dollars and percent signs, or by math-verify.

    The order of a list does not count, that of a tuple does; ``x=5`` is ``5``, ``\frac12`` is ``0.5``, ``8\%`` is ``8``
    and ``0.08``; units and degrees do not count. False for what cannot be read, is too long or takes too long.
    """
    answer, right = _undressed(answer), _undressed(right)
    if not answer or len(answer) > LONGEST:
        return False
    return _alike(answer) == _alike(right) or verified(answer, right)


def same_number(answer: str, right: str) -> bool:
    """Whether both texts are the same number, exactly: ``$1,234.50`` is ``1234.5``, ``3/4`` is ``0.75``.

    Units and signs of money and percent do not count. False where either is no number.
    """
    number = read_number(answer)
    return number is not None and number == read_number(right)


def near_number(answer: str, right: str, error: Fraction) -> bool:
    """Whether both texts are numbers that differ by ``error`` at most."""
    first, second = read_number(answer), read_number(right)
    return first is not None and second is not None and abs(first - second) <= error


def same_numbers(answer: str, right: Sequence[str]) -> list[bool]:
    """Of each right number, whether the list ``answer`` has the same at its place; it may be numbered, as ``2. 70``."""
    parts = [_LABEL.sub(_unlabelled(place), part) for place, part in enumerate(split_numbers(answer, len(right)), 1)]
    return [place < len(parts) and same_number(parts[place], number) for place, number in enumerate(right)]


def read_number(text: str) -> Fraction | None:
    """The one number that a text comes to, or None."""
    number = only_number(text) if len(text) <= LONGEST else None
    try:
        return None if number is None else _fraction(number)
    except (ValueError, ZeroDivisionError):  # more digits than Python reads, or a fraction of nothing
        return None


def split_numbers(text: str, count: int) -> list[str]:
    """A list of numbers, as it was written, in parts: of ``count`` parts where that can be.

    A comma in ``1,234`` may stand between thousands or between numbers. In order: commas before a space separate; every
    comma separates; every comma that can stand between thousands does.
    """
    plain = _BRACKETS.sub("", _THOUSANDS.sub("", text)).strip(" \t\n,;")
    loose = _LOOSE.split(plain) if plain else []
    every = [part for piece in loose for part in piece.split(",")]
    tight = [part for piece in loose for part in _TIGHT.sub(lambda found: found[0].replace(",", ""), piece).split(",")]
    ways = [[part.strip() for part in way] for way in (loose, every, tight)]
    return next((way for way in ways if len(way) == count), ways[-1])


def _unlabelled(place: int) -> Callable[[re.Match[str]], str]:
    """Takes a label away where it is the one of this place: ``1.5`` is no label, and 2 none of the first."""
    return lambda label: "" if int(label["number"]) == place else label[0]


def _fraction(number: str) -> Fraction:
    """The value of what `only_number` gives: ``-1234.5``, ``3/4``, ``1.5/2e3``."""
    top, _, under = number.partition("/")
    bottom, _, power = under.partition("e")
    value = Fraction(top) / Fraction(bottom) if under else Fraction(top)
    return value * Fraction(10) ** int(power) if power else value


def _undressed(formula: str) -> str:
    """A formula without the dollars around it and the full stop behind it."""
    return formula.strip().strip("$").strip().removesuffix(".").strip()


def _alike(formula: str) -> str:
    return _LOOKS.sub("", formula)
