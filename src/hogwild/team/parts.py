"""Who does what: the parts of a task, dealt out to workers or found by a short plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from hogwild.errors import OptionError

_LINE = re.compile(r"^\s*(?:\*\*)?(?:part\s*)?\d+\s*[.):]\s*(?:\*\*)?\s*(?P<text>\S.*)$", re.IGNORECASE)


Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """One part of a task; parts are numbered from 1 over the whole team."""

    number: int
    text: str


def deal(assign: Sequence[str | Sequence[str]], workers: int) -> list[list[Part]]:
    """The parts of each worker.

    A flat list of texts is `cut`; a list of lists says itself who does what, and must have one list for each worker.
    Raises `OptionError` for no parts, an empty part, a flat list with fewer parts than workers, or another shape.
    """
    if not isinstance(assign, (list, tuple)):
        raise OptionError(f"assign is {assign!r}: give none, plan or a list of parts")
    nested = [item for item in assign if not isinstance(item, str)]
    if nested and len(nested) != len(assign):
        raise OptionError("assign mixes parts and lists of parts: give a list of texts, or one list for each worker")
    if nested:
        if len(nested) != workers:
            raise OptionError(f"assign has {len(nested)} lists for {workers} workers: give one for each")
        shares = [list(share) if isinstance(share, (list, tuple)) else [share] for share in nested]
    else:
        shares = cut([str(item) for item in assign], workers)
    texts = [text for share in shares for text in share]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise OptionError("assign needs at least one part, each a text that is not empty")
    if not nested and len(texts) < workers:
        raise OptionError(f"assign has fewer parts than workers ({len(texts)} for {workers}): take fewer workers")
    numbers = iter(range(1, len(texts) + 1))
    return [[Part(next(numbers), text.strip()) for text in share] for share in shares]


def cut(items: Sequence[Item], runs: int) -> list[list[Item]]:
    """Cut a list into so many runs of nearly equal length, in order; the longer ones come first."""
    size, longer = divmod(len(items), runs)
    bounds = [size * i + min(i, longer) for i in range(runs + 1)]
    return [list(items[a:b]) for a, b in pairwise(bounds)]


def parse_plan(text: str, limit: int) -> list[str]:
    """The parts that a plan lists: its numbered lines, at most ``limit``, without repetitions."""
    found = [match["text"].strip().strip("*").strip() for line in text.splitlines() if (match := _LINE.match(line))]
    return list(dict.fromkeys(part for part in found if part))[:limit]
