"""Who does what: the parts of a task, dealt out to workers or found by a short plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hogwild.errors import OptionError

_LINE = re.compile(r"^\s*(?:\*\*)?(?:part\s*)?\d+\s*[.):]\s*(?:\*\*)?\s*(?P<text>\S.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part of a task; parts are numbered from 1 over the whole team."""

    number: int
    text: str


def deal(assign: Sequence[str | Sequence[str]], workers: int) -> list[list[Part]]:
    """The parts of each worker.

    A flat list of texts is cut into runs of nearly equal length, in order; a list of lists says itself who does what,
    and must have one list for each worker. Raises `OptionError` for no parts, an empty part or another shape.
    """
    nested = [item for item in assign if not isinstance(item, str)]
    if nested and len(nested) != len(assign):
        raise OptionError("assign mixes parts and lists of parts: give a list of texts, or one list for each worker")
    if nested:
        if len(nested) != workers:
            raise OptionError(f"assign has {len(nested)} lists for {workers} workers: give one for each")
        shares = [list(share) for share in nested]
    else:
        flat = [str(item) for item in assign]
        bounds = [len(flat) * i // workers for i in range(workers + 1)]
        shares = [flat[a:b] for a, b in pairwise(bounds)]
    texts = [text for share in shares for text in share]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise OptionError("assign needs at least one part, and none may be empty")
    numbers = iter(range(1, len(texts) + 1))
    return [[Part(next(numbers), text.strip()) for text in share] for share in shares]


def parse_plan(text: str, limit: int) -> list[str]:
    """The parts that a plan lists: its numbered lines, at most ``limit``, without repetitions."""
    found = [match["text"].strip().strip("*").strip() for line in text.splitlines() if (match := _LINE.match(line))]
    return list(dict.fromkeys(part for part in found if part))[:limit]
