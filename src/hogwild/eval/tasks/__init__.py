"""The tasks by name. Each kind is one file, and one line of the table below."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hogwild.errors import OptionError
from hogwild.eval.problem import Task
from hogwild.eval.tasks.aime import aime
from hogwild.eval.tasks.gsm8k import gsm8k
from hogwild.eval.tasks.gsm8k_x import gsm8k_x
from hogwild.eval.tasks.humaneval import humaneval
from hogwild.eval.tasks.jsonl import jsonl
from hogwild.eval.tasks.limo import limo
from hogwild.eval.tasks.livecodebench import livecodebench
from hogwild.eval.tasks.math500 import math500
from hogwild.eval.tasks.olympiadbench import olympiadbench
from hogwild.eval.tasks.parts import parts
from hogwild.eval.tasks.passkey import passkey


@dataclass(frozen=True)
class _Kind:
    """A kind of task: how its names look (for people, and as a regular expression), how one is made, what it is.

    ``make`` gets the whole name, and raises `OptionError` for one that cannot be.
    """

    names: str
    pattern: str
    make: Callable[[str], Task]
    about: str


_KINDS: Sequence[_Kind] = (
    _Kind("gsm8k", "gsm8k", gsm8k, "school problems in words; the answer is a number"),
    _Kind("gsm8k-xK", "gsm8k-x[0-9]{1,4}", gsm8k_x, "K of them in one prompt; the score is the share that is right"),
    _Kind("math500", "math500", math500, "problems of school competitions; the answer is a formula"),
    _Kind("olympiadbench", "olympiadbench", olympiadbench, "problems of olympiads; the answer is a formula"),
    _Kind("aime", "aime", aime, "problems of the AIME; the answer is a whole number up to 999"),
    _Kind("limo", "limo", limo, "problems chosen to teach reasoning; the answer is a formula"),
    _Kind("humaneval", "humaneval", humaneval, "Python functions; their tests run here (--allow-code-execution)"),
    _Kind("livecodebench", "livecodebench", livecodebench, "programs of contests; their tests run here"),
    _Kind("parts[-independent-K]", "parts(-independent-[0-9]{1,4})?", parts, "K small questions, generated; K is 6"),
    _Kind("parts-chain-K", "parts-chain-[0-9]{1,4}", parts, "generated: each part needs the result of the one before"),
    _Kind("parts-search-K", "parts-search-[0-9]{1,4}", parts, "generated: K sums, of which one is the answer"),
    _Kind("parts-trap-K", "parts-trap-[0-9]{1,4}", parts, "generated: one long part that all want to do, and others"),
    _Kind("passkey", "passkey", passkey, "generated: one worker is told a code, another one is asked for it"),
    _Kind("jsonl:FILE", "jsonl:.+", jsonl, "your own: question and answer, one JSON object a line"),
)


def find_task(name: str) -> Task:
    """The task of this name, such as ``gsm8k`` or ``gsm8k-x5``. Raises `OptionError` where there is none."""
    for kind in _KINDS:
        if re.fullmatch(kind.pattern, name):
            return kind.make(name)
    known = ", ".join(kind.names for kind in _KINDS)
    raise OptionError(f"task {name!r} is unknown: give one of {known}")


def list_tasks() -> list[tuple[str, str]]:
    """All tasks, in order: the pattern of the name, and one line what it is."""
    return [(kind.names, kind.about) for kind in _KINDS]
