"""What a team would have answered at each budget, from its events alone: nothing is run again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from hogwild.eval.outcome import Reading, TeamResult
from hogwild.team.answer import find_answer
from hogwild.team.events import Event, Finished, Planned, Prefilled, Snapshot, Started, StepStarted, Token, WorkerLeft


class Trail:
    """One team's events, read at any pass. ``error`` is the line that it failed by, or None."""

    def __init__(self, result: TeamResult) -> None:
        self.events: Sequence[Event] = result.events
        self.error = result.error
        self._snapshots = {event.budget: event for event in self.events if isinstance(event, Snapshot)}
        last = self.events[-1] if self.events else None
        self.finished = last if isinstance(last, Finished) else None

    @property
    def length(self) -> int:
        """The passes that it has done in all."""
        return self.events[-1].pass_ if self.events else 0

    def passes(self, budget: int) -> int:
        """The passes that it had done by then."""
        return min(self.length, budget)

    def reason(self, budget: int) -> str:
        """Why it had ended by then; ``budget`` where it was still at work; ``error`` where it had failed."""
        if self.finished is not None:
            return self.finished.reason if self.finished.passes <= budget else "budget"
        return "budget" if self.length > budget else "error"

    def tokens(self, budget: int) -> int:
        """The tokens that its workers had written by then, those that ended their turns included."""
        if self.finished is not None and self.finished.passes <= budget:
            return sum(self.finished.tokens.values())
        begun, written, last = set[str](), 0, dict[str, int]()
        for event in self._until(budget):
            if isinstance(event, StepStarted):
                begun.add(event.worker)
            elif isinstance(event, Token):
                written, last[event.worker] = written + 1, event.pass_
            elif isinstance(event, WorkerLeft) and event.worker in begun:
                written += last.get(event.worker) != event.pass_  # the end of a turn has no event of its own
        return written

    def seconds(self, budget: int) -> float:
        """How long it had decoded by then: without the reading of prompts and the answers asked for on the way.

        The seconds of a plan are those from the start to its end, as its passes count.
        """
        asked = before = 0.0
        end = self._began
        for event in self._until(budget):
            if isinstance(event, Snapshot):
                asked += event.time - before
            elif isinstance(event, Token):
                end = event.time - asked
            before = event.time
        return max(end - self._began, 0.0) + self._planning

    @cached_property
    def _began(self) -> float:
        """When the first pass began."""
        time = 0.0
        for event in self.events:
            if isinstance(event, Token):
                break
            time = event.time
        return time

    @cached_property
    def _planning(self) -> float:
        planned = next((event for event in self.events if isinstance(event, Planned)), None)
        return planned.time - self.events[0].time if planned is not None and planned.pass_ else 0.0

    def steps(self, budget: int, worker: str | None = None) -> list[str]:
        """The steps that all, or one ``worker``, had written by then, in the order in which they began."""
        steps = dict[tuple[str, int], str]()
        for event in self._until(budget):
            if isinstance(event, StepStarted):
                steps[event.worker, event.step] = ""
            elif isinstance(event, Token):
                steps[event.worker, event.step] += event.text
        return [text for (name, _), text in steps.items() if text.strip() and worker in (None, name)]

    def text(self, budget: int, worker: str | None = None) -> str:
        """All of it, one step after the other; of one worker alone as it wrote it."""
        steps = self.steps(budget, worker)
        return "".join(text if text.endswith("\n") else f"{text}\n\n" for text in steps).strip()

    def reading(self, budget: int) -> Reading:
        """What it answered at its end, if that had come by then, and else what its finisher did when asked."""
        if self.finished is not None and self.finished.passes <= budget:
            return self.made(budget, self.finished.answer, self.finished.text)
        asked = self._snapshots.get(budget)
        if asked is None or asked.pass_ > budget:  # it failed, or it was still planning
            return self.made(budget, None, "")
        return self.made(budget, asked.answer, asked.text)

    def own_reading(self, budget: int, form: str, task: str, worker: str | None = None) -> Reading:
        """Without a finisher: the latest answer that stands in what all, or one ``worker``, had written."""
        whole = self.text(budget, worker)
        if form == "text":
            return self.made(budget, whole or None, whole)
        for text in reversed(self.steps(budget, worker)):
            answer = find_answer(text, form, task)
            if answer is not None:
                return self.made(budget, answer, text.strip())
        return self.made(budget, None, whole)

    def made(self, budget: int, answer: str | None, text: str) -> Reading:
        """A reading of this team alone."""
        counts = self.passes(budget), self.tokens(budget), self.seconds(budget)
        return Reading(budget, answer, text, *counts, self.reason(budget))

    def _until(self, budget: int) -> Sequence[Event]:
        """The events up to the end of that pass."""
        return [event for event in self.events if event.pass_ <= budget and not isinstance(event, (Started, Prefilled))]


def joint_reason(trails: Sequence[Trail], budget: int) -> str:
    """The reason of several teams together: at work while any is; then the first that is no error, if there is one."""
    reasons = [trail.reason(budget) for trail in trails]
    if "budget" in reasons:
        return "budget"
    return next((reason for reason in reasons if reason != "error"), "error")


def first_error(trails: Sequence[Trail]) -> str | None:
    """The line of the first team that failed, if one has."""
    return next((trail.error for trail in trails if trail.error is not None), None)
