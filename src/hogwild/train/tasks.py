"""Simulated tasks: a list of parts, who works on it, and how it is asked. Drawn by seed from a mix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hogwild.errors import InputError
from hogwild.team.worker import NAMES
from hogwild.train.parts import DATA, Draw, Part, draw_chained, draw_part

TAKEN = "Taken"
"""What a worker writes in place of an answer when it sees that another one has the part."""

RULES = {"may_end": True, "in_turn": True}
"""Options of all simulated teams, which a model that has learnt from them keeps to."""

DEFAULT_NAMES = 0.5
"""The share of teams whose workers have the names that teams have by default."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskMix(_Strict):
    """How tasks are made: the number of ``parts`` from and to, the ``longest_count``, the share that is ``boxed``, and
    the share whose trace holds what the finisher writes.
    """

    parts: tuple[int, int] = (2, 10)
    longest_count: int = Field(9, ge=3)
    boxed: float = Field(0.15, ge=0, le=1)
    finished: float = Field(0.4, ge=0, le=1)


class EventMix(_Strict):
    """Shares of runs in which something unusual happens."""

    clash: float = Field(0.2, ge=0, le=1)
    known: float = Field(0.1, ge=0, le=1)
    late: float = Field(0.1, ge=0, le=1)


class RunMix(_Strict):
    """Runs of real teams: their share of all traces, the files, and which of them count."""

    share: float = Field(0.5, gt=0, le=1)
    files: tuple[str, ...]
    reasons: tuple[str, ...] = ("answer", "done")
    answers: str | None = None


class OwnMix(_Strict):
    """What the model writes by itself before it is trained: the share of all traces, the most ``passes`` of an answer
    to a question, how many single ``parts`` of tasks are asked beside ordinary questions, and how many ``texts`` about
    anything there are, of what ``length`` in tokens.
    """

    share: float = Field(0.1, gt=0, le=1)
    passes: int = Field(96, ge=1)
    parts: int = Field(0, ge=0)
    texts: int = Field(0, ge=0)
    length: int = Field(128, ge=2)


class Mix(_Strict):
    """What traces are made of. Weights are relative to each other."""

    kinds: Mapping[str, float]
    workers: Mapping[int, float]
    layouts: Mapping[str, float]
    prompts: Mapping[str, float]
    task: TaskMix = TaskMix()
    events: EventMix = EventMix()
    own: OwnMix | None = None
    runs: RunMix | None = None


def read_mix(path: Path | None = None) -> Mix:
    """A mix from its TOML file; by default the packaged one. Raises `InputError` with what is wrong in it."""
    path = path or DATA / "mix.toml"
    try:
        return Mix.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"the mix {str(path)!r} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        raise InputError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    except ValueError as error:
        raise InputError(f"{path} is no TOML: {error}") from None


_ANSWERED = re.compile(r"\W*(?:[A-Za-z]+\.? ?)?(\d+)\b[.:)\]]*\s*(.*?)\.?\s*", re.DOTALL)
"""An answer: a number, however the part is called ("3.", "(3)", "No. 3:"), and what follows."""


@dataclass(frozen=True)
class TeamTask:
    """A task for a team.

    Attributes:
        seed: that it was drawn with.
        text: the task as a person would write it.
        parts: what is to be done.
        label: how the task calls its parts, with ``{n}`` in it.
        asked: the part (from 0) whose answer is the final one, in a box; None where there is none.
        names: of the workers.
        layout, prompt: as a team takes them.
        known: a part (from 0) whose answer is in the history from the beginning, if any.
        late: how many passes the last worker joins after the others, or 0.
        clash: whether somebody takes what another has.
        finished: whether the finisher's words are part of the trace.
    """

    seed: str
    text: str
    parts: tuple[Part, ...]
    label: str
    asked: int | None
    names: tuple[str, ...]
    layout: str
    prompt: str
    known: int | None = None
    late: int = 0
    clash: bool = False
    finished: bool = True
    kept: bool = field(default=False, compare=False)

    def called(self, place: int) -> str:
        """How an answer calls a part (from 0), whatever the task calls it: others see the number at once."""
        return f"{place + 1}."

    def line(self, place: int) -> str:
        """What stands in the history once a part is done."""
        return f"{self.called(place)} {self.parts[place].sentence}."

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the `Team` that works on it."""
        first = self.names[:-1] if self.late else self.names
        answer = "text" if self.asked is None else "boxed"
        return {"workers": len(first), "names": list(first), "answer": answer, **self.how}

    @property
    def how(self) -> dict[str, Any]:
        """Those of them that do not depend on who works on it."""
        return {"layout": self.layout, "prompt": self.prompt, **RULES}

    def read(self, step: str) -> tuple[int, str] | None:
        """The place of the part and the answer that a step gives; None where it gives none, or steps aside."""
        found = _ANSWERED.fullmatch(step.strip())
        if found is None or not 1 <= int(found[1]) <= len(self.parts):
            return None
        answer = re.sub(r"^(?:\.\.\.\s*)+", "", found[2]).strip()
        return None if answer.startswith(TAKEN) else (int(found[1]) - 1, answer)

    def right(self, place: int, answer: str) -> bool:
        """Whether an answer is the right one, or ends with it, up to case and white space."""
        want, given = self.parts[place].answer, " ".join(answer.split())
        if self.parts[place].kind not in ("capitals", "repeat"):
            want, given = want.casefold(), given.casefold()
        return given == want or given.endswith(f" {want}")


def draw_task(
    seed: str, mix: Mix, *, kept: bool = False, workers: int | None = None, kinds: Sequence[str] | None = None
) -> TeamTask:
    """A task by seed: the same seed and mix give the same task.

    With ``kept``, phrasings, names, words and numbers are only those that are never trained on. ``workers`` and
    ``kinds`` take the mix's place.
    """
    draw = Draw(f"{seed}/{kept}", kept=kept)
    label = draw.one("label")
    weights = dict(mix.kinds) if kinds is None else dict.fromkeys(kinds, 1.0)
    parts = _parts(draw, mix, weights, label)
    told = "".join(f"{part.told} " for part in parts if part.told)
    lines = [f"{label.format(n=place + 1)} {part.question}" for place, part in enumerate(parts)]
    asked = draw.random.randrange(len(parts)) if draw.random.random() < mix.task.boxed else None
    ending = [] if asked is None else [draw.one("boxed").format(ref=_reference(label, asked + 1))]
    opening = draw.one("intro")
    if told:
        opening += f"\n\n{told.strip()}"
    count = workers or int(draw.weighted({str(key): weight for key, weight in mix.workers.items()}))
    several = count > 1
    names = _names(draw, count)
    events = mix.events
    return TeamTask(
        seed=seed,
        text="\n".join([opening, "", *lines, *(["", *ending] if ending else [])]),
        parts=tuple(parts),
        label=label,
        asked=asked,
        names=tuple(names),
        layout=draw.weighted(mix.layouts),
        prompt=draw.weighted(mix.prompts),
        known=_early(draw, len(parts)) if several and draw.random.random() < events.known else None,
        late=draw.random.randint(2, 20) if several and draw.random.random() < events.late else 0,
        clash=several and draw.random.random() < events.clash,
        finished=draw.random.random() < mix.task.finished,
        kept=kept,
    )


def _early(draw: Draw, count: int) -> int:
    """A part (from 0), the first ones more often: those who begin go from the first to the last."""
    return min(draw.random.randrange(count) for _ in range(2))


def _names(draw: Draw, count: int) -> list[str]:
    """Those that teams have by default, or others."""
    if not draw.kept and draw.random.random() < DEFAULT_NAMES:
        return list(NAMES[:count])
    return draw.random.sample(list(draw.table("names")), count)


def _parts(draw: Draw, mix: Mix, weights: Mapping[str, float], label: str) -> list[Part]:
    parts = list[Part]()
    count = max(draw.random.randint(*mix.task.parts) for _ in range(2))  # more often many than few
    for _ in range(count):
        part, kind = None, draw.weighted(weights)
        if kind == "add":
            part = draw_chained(draw, parts, partial(_reference, label))
        parts.append(part or draw_part(draw, "sum" if kind == "add" else kind, mix.task.longest_count))
    return parts


def _reference(label: str, number: int) -> str:
    """How a sentence speaks of a part."""
    called = label.format(n=number).rstrip(".:")
    return f"number {number}" if called.rstrip(")") == str(number) else called


CASES: Mapping[str, Mapping[str, Any]] = {
    "plain": {"known": None, "late": 0},
    "unequal": {"known": None, "late": 0},
    "known": {"known": 0, "late": 0},
    "late": {"known": None, "late": 6},
}
"""Tasks to measure on: ordinary ones, parts of very unequal length, one part done before, a worker that joins late."""

UNEQUAL = {"count": 2.0, "first": 1.0, "last": 1.0, "opposite": 1.0}


def draw_case(case: str, seed: str, mix: Mix, *, kept: bool, workers: int, layout: str) -> TeamTask:
    """A task of one of the `CASES`."""
    if case == "unequal":
        longer = mix.task.model_copy(update={"longest_count": max(mix.task.longest_count, 14), "parts": (4, 8)})
        mix = mix.model_copy(update={"kinds": UNEQUAL, "task": longer})
    changes = CASES[case] if workers > 1 else CASES["plain"]
    return replace(draw_task(seed, mix, kept=kept, workers=workers), layout=layout, clash=False, **changes)
