"""Parts of simulated tasks, drawn from the words of a file: a question, its answer, and what it needs."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Part:
    """One part of a task.

    Attributes: ``kind``; ``question``; ``answer``, and ``sentence``, which is what is written and ends with it, both
    without a full stop; ``value``, its answer as a number, if it is one; ``needs``, the place of the part (from 0)
    whose result it needs; ``told``, a sentence that the task must tell.
    """

    kind: str
    question: str
    answer: str
    sentence: str
    value: int | None = None
    needs: int | None = None
    told: str = ""


@cache
def words() -> Mapping[str, Any]:
    """The tables of ``data/words.toml``."""
    return tomllib.loads((DATA / "words.toml").read_text(encoding="utf-8"))


class Draw:
    """Random choices for one task: from what is trained on or, with ``kept``, only from what never is."""

    def __init__(self, seed: str, *, kept: bool = False) -> None:
        self.random = random.Random(seed)
        self.kept = kept
        self._used = set[str]()

    def table(self, *path: str) -> Sequence[Any]:
        """A table of the file, by its path."""
        found: Any = words()
        for name in path:
            found = found[name]
        side: Sequence[Any] = found["kept" if self.kept else "train"]
        return side

    def one(self, *path: str) -> Any:
        """One entry of a table; words and facts are not drawn twice in a task before all were."""
        return self.random.choice(self.table(*path))

    def fresh(self, *path: str) -> Any:
        """One entry that this task has not had, if there is one left."""
        entries = [entry for entry in self.table(*path) if str(entry) not in self._used] or self.table(*path)
        chosen = self.random.choice(entries)
        self._used.add(str(chosen))
        return chosen

    def weighted(self, weights: Mapping[str, float]) -> str:
        """A key, by its weight."""
        return self.random.choices(list(weights), list(weights.values()))[0]

    def numbers(self, low: int, high: int) -> tuple[int, int]:
        """Two numbers; one pair in ten is kept aside."""
        while True:
            a, b = self.random.randint(low, high), self.random.randint(low, high)
            if ((a * 31 + b) % 10 == 7) == self.kept:
                return a, b


def draw_part(draw: Draw, kind: str, longest_count: int) -> Part:
    """A part of a ``kind`` that needs no other: any but ``add``."""
    if kind in ("capital", "opposite", "young"):
        given, answer = draw.fresh("facts", kind)
        return Part(kind, _ask(draw, kind, x=given), answer, _say(kind, given, answer))
    if kind in ("sum", "difference"):
        a, b = draw.numbers(10, 60)
        a, b = (a, b) if kind == "sum" else (max(a, b), min(a, b))
        value, sign = (a + b, "+") if kind == "sum" else (a - b, "-")
        return Part(kind, _ask(draw, kind, a=a, b=b), str(value), f"{a} {sign} {b} = {value}", value)
    if kind == "count":
        last = draw.random.randint(3, longest_count)
        numbers = " ".join(map(str, range(1, last + 1)))
        return Part(kind, _ask(draw, kind, n=last), numbers, numbers)
    if kind in ("colour", "town"):
        return _looked_up(draw, kind)
    word = str(draw.fresh("words"))
    answer = _WORD[kind](word)
    return Part(kind, _ask(draw, kind, x=word), answer, _say(kind, word, answer))


def draw_chained(draw: Draw, parts: Sequence[Part], label: Callable[[int], str]) -> Part | None:
    """A part that needs the result of an earlier one, or None where no earlier one has a number."""
    numbers = [place for place, part in enumerate(parts) if part.value is not None]
    if not numbers:
        return None
    place, more = draw.random.choice(numbers), draw.random.randint(1, 9)
    first = parts[place].value or 0
    question, value = _ask(draw, "add", a=more, ref=label(place + 1)), first + more
    return Part("add", question, str(value), f"{first} + {more} = {value}", value, needs=place)


_WORD: Mapping[str, Callable[[str], str]] = {
    "repeat": lambda word: f"{word} {word}",
    "capitals": str.upper,
    "first": lambda word: word[0],
    "last": lambda word: word[-1],
}


_SENTENCES: Mapping[str, str] = {
    "capital": "The capital of {x} is {answer}",
    "opposite": "The opposite of {x} is {answer}",
    "young": "A young {x} is a {answer}",
    "first": "{x} begins with {answer}",
    "last": "{x} ends with {answer}",
    "colour": "{x} is {answer}",
    "town": "{x} lives in {answer}",
}


def _say(kind: str, given: str, answer: str) -> str:
    """The sentence that gives an answer; what is only to be copied is its own."""
    return _SENTENCES.get(kind, "{answer}").format(x=given, answer=answer)


def _ask(draw: Draw, kind: str, **given: object) -> str:
    question: str = draw.one("ask", kind).format(**given)
    return question[0].upper() + question[1:]


def _looked_up(draw: Draw, kind: str) -> Part:
    text, person = words()["text"], draw.fresh("names")
    facts = {one: draw.random.choice(text[f"{one}s"]) for one in ("town", "colour", "thing")}
    told = text["sentence"].format(x=person, **facts)
    given = person if kind == "town" else f"{person}'s {facts['thing']}"
    sentence = _say(kind, given, facts[kind])
    return Part(kind, _ask(draw, kind, x=person, y=facts["thing"]), facts[kind], sentence, told=told)
