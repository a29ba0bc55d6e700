r"""Read a list of short answers: a box with commas, ``\boxed{12, cat}``, or lines that begin with their numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 20_000
"""Characters of a text that are looked at, the last ones."""

_ITEM_END = re.compile(r"[,;\n]|\\\\|\\quad\b|\\newline\b")
_LABEL = re.compile(
    r"\s*[*(]*(?:a|answer |part |no\. ?)?(?P<number>[0-9]{1,2})(?:[.):](?![0-9])|\s*=)[*)]*\s*", re.IGNORECASE
)
_LINE = re.compile(r"(?:^|(?<=[\s;,]))[*(]*(?:part\s)?(?P<number>[0-9]{1,2})[.):][*)]*[ \t]+(?=\S)", re.IGNORECASE)
_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|tt)?|math(?:bf|it|rm)|boxed|fbox|left|right)\b|\\[ ,;!()\[\]]")
_MARKS = re.compile(r"[\"'`“”‘’*_${}\[\]()~]")
_CLAIM = re.compile(r"=|:|→|->|\b(?:is|are|be|left|comes|equals)\b")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(value) for value, word in enumerate(_DIGITS)}


def right_items(answer: str | None, text: str, golds: Sequence[str]) -> list[bool] | None:
    """Of each right answer, whether the list has the same at its place; None where there is no list at all.

    ``answer`` is what stood in the box; without one, the numbered lines of ``text`` count, the last of each number.
    Case, quotation marks and spaces do not count, and ``The sum is 12.`` is ``12``. An item with a number stands at
    that place; a list that is too short gives the items that it has.
    """
    items = _of_box(answer, len(golds)) if answer is not None and answer.strip() else _of_lines(text, len(golds))
    if not items:
        return None
    return [same_item(items.get(place, ""), gold) for place, gold in enumerate(golds, 1)]


def same_item(item: str, gold: str) -> bool:
    """Whether an item is the right answer, or a sentence or a sum that comes to it."""
    right, item = _plain(gold), item.casefold().split("\n")[0]
    return right in (_plain(item), _plain(_CLAIM.split(item)[-1]))


def _of_box(answer: str, count: int) -> dict[int, str]:
    """The items by their places, from 1: by their numbers where each has one, and no number twice."""
    items = [item for item in _ITEM_END.split(answer[-LONGEST:]) if item.strip(" {}[]()$.")]
    if len(items) == 1 and count > 1:  # "1. 12 2. cat", with nothing between them
        items = _ITEM_END.split(_LINE.sub(lambda label: f"\n{label[0]}", items[0]).strip())
    labels = [_LABEL.match(item.lstrip(" {[($")) for item in items]
    numbers = [int(label["number"]) for label in labels if label]
    if len(set(numbers)) == len(items) and all(1 <= number <= count for number in numbers):
        return {number: _LABEL.sub("", item, count=1) for number, item in zip(numbers, items, strict=True)}
    return dict(enumerate(items, 1))


def _of_lines(text: str, count: int) -> dict[int, str]:
    """What stands behind each number: to the end of its line, or to the next number where that follows in the line."""
    found, last = dict[int, str](), 0
    for line in text[-LONGEST:].splitlines():
        labels = list[re.Match[str]]()
        for label in _LINE.finditer(line):
            if (
                not line[: label.start()].strip() or int(label["number"]) == last + 1
            ):  # else it ends a sentence: "is 12. So"
                labels.append(label)
                last = int(label["number"])
        ends = [*(label.start() for label in labels[1:]), len(line)]
        found |= {int(label["number"]): line[label.end() : end] for label, end in zip(labels, ends, strict=False)}
    return {number: item for number, item in found.items() if 1 <= number <= count and item.strip()}


def _plain(item: str) -> str:
    """An item without what does not count."""
    bare = _MARKS.sub(" ", _COMMAND.sub(" ", item.casefold())).replace("–", "-").replace("\\", " ")
    words = re.sub(r"\s*-\s*|\s+", " ", bare).strip(" .!?,;:")
    return _NUMBERS.get(words, words)
