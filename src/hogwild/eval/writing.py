"""What the workers of a run wrote, and when: steps put together from events."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild.team.events import CheckAsked, Event, Planned, Started, StepStarted, Token

WORD = re.compile(r"\w+")


@dataclass
class Step:
    """One step of a worker, finished or not.

    ``prefix`` was put in its mouth, ``text`` is what it wrote. ``checked``: it began with the question about redundant
    work. ``tokens`` were written for it. A *moment* is a place in the order of all that was written; of two tokens of
    the same pass, the one of the worker that comes first is the earlier one.
    """

    worker: str
    number: int
    prefix: str = ""
    text: str = ""
    checked: bool = False
    tokens: int = 0
    ends: list[int] = field(default_factory=list)  # where each piece of the text ends
    moments: list[int] = field(default_factory=list)  # when each piece was written

    def write(self, text: str, moment: int) -> None:
        """Add a token, whose readable text may be empty."""
        self.tokens += 1
        if text:
            self.text += text
            self.ends.append(len(self.text))
            self.moments.append(moment)

    def moment(self, place: int) -> int:
        """When the sign at ``place`` of the text was written."""
        return self.moments[bisect_right(self.ends, place)]

    def words(self) -> list[tuple[str, int]]:
        """Its words in small letters, each with the moment in which it was complete."""
        return [(found[0].casefold(), self.moment(found.end() - 1)) for found in WORD.finditer(self.text)]


@dataclass(frozen=True)
class Writing:
    """All that was written in a run: ``workers`` in order, ``steps`` in order of their beginning, ``given`` to all: the
    task and its parts. ``parts`` is how many parts were dealt out.
    """

    workers: tuple[str, ...]
    steps: tuple[Step, ...]
    given: str
    parts: int

    def of(self, worker: str) -> list[Step]:
        """The steps of one worker."""
        return [step for step in self.steps if step.worker == worker]


def read_writing(traces: Sequence[Sequence[Event]]) -> Writing:
    """Put together what was written in the ``traces``: one team, or several that are looked at as if they were one.

    Several are put side by side pass by pass, and where two have a worker of the same name, its team's number is added.
    """
    workers, given, parts = list[str](), dict[str, None](), 0
    steps = dict[tuple[int, str, int], Step]()
    side_by_side = sorted(
        ((event, number) for number, trace in enumerate(traces) for event in trace), key=lambda one: one[0].pass_
    )
    names = _names(traces)
    for moment, (event, number) in enumerate(side_by_side):
        if isinstance(event, Started):
            given[event.task] = None
        elif isinstance(event, Planned):
            dealt = [part for share in event.parts.values() for part in share]
            given |= dict.fromkeys(dealt)
            parts = max(parts, len(dealt))
        elif isinstance(event, StepStarted | CheckAsked | Token):
            name = names[number, event.worker]
            if name not in workers:
                workers.append(name)
            step = steps.setdefault((number, event.worker, event.step), Step(name, event.step))
            if isinstance(event, StepStarted):
                step.prefix = event.text
            elif isinstance(event, CheckAsked):
                step.checked = True
            else:
                step.write(event.text, moment)
    return Writing(tuple(workers), tuple(steps.values()), "\n".join(given), parts)


def _names(traces: Sequence[Sequence[Event]]) -> dict[tuple[int, str], str]:
    """The name of each worker of each trace; no two are the same."""
    found = dict.fromkeys(
        (number, event.worker)
        for number, trace in enumerate(traces)
        for event in trace
        if isinstance(event, StepStarted | CheckAsked | Token)
    )
    bearers = [name for _, name in found]
    return {key: key[1] if bearers.count(key[1]) == 1 else f"{key[1]} of {key[0] + 1}" for key in found}
