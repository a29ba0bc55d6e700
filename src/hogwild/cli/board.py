"""The state of a run as a viewer knows it: a pure fold over the events, so that a replay shows what a run showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hogwild.cli import text, words
from hogwild.team import events as ev


@dataclass
class WorkerState:
    """One column: a worker, the step it writes and how far it is."""

    name: str
    index: int  # order of appearance; chooses the colour
    step: int = 0
    text: str = ""  # of the current step, raw
    tokens: int = 0
    status: Literal["waiting", "writing", "checking", "left"] = "waiting"


@dataclass(frozen=True)
class Entry:
    """One line of the history: a finished step, a person's message, or a notice (``name`` is empty). Text is clean."""

    kind: Literal["step", "said", "notice"]
    text: str
    name: str = ""
    step: int = 0


class Board:
    """All that the views show. ``apply`` takes the events in order; nothing else changes a board.

    ``time`` is that of the last event. ``answer`` is the raw text of the finisher so far, or of the end.
    """

    def __init__(self) -> None:
        self.started: ev.Started | None = None
        self.finished: ev.Finished | None = None
        self.workers: dict[str, WorkerState] = {}
        self.history: list[Entry] = []
        self.dropped = 0
        self.passes = 0
        self.time = 0.0
        self.prefilled: tuple[int, int] = (0, 0)  # tokens read, tokens to read
        self.answer = ""
        self.answering = False
        self._writing_since: float | None = None
        self._writing_until = 0.0

    def apply(self, event: ev.Event) -> None:
        """Take the next event into account."""
        self.passes = max(self.passes, event.pass_)
        self.time = max(self.time, event.time)
        self.history += [Entry("notice", line) for line in words.notices(event)]
        handler = getattr(self, f"_on_{event.kind}", None)
        if handler is not None:
            handler(event)

    @property
    def steps(self) -> int:
        """Finished steps so far, dropped ones too."""
        return sum(entry.kind == "step" for entry in self.history)

    @property
    def tokens(self) -> int:
        """Tokens written so far by all workers."""
        return sum(worker.tokens for worker in self.workers.values())

    def rate(self, tokens: int) -> float:
        """``tokens`` a second of the time in which the workers wrote."""
        if self.finished is not None:
            return text.rate(tokens, self.finished.decode_seconds)
        return text.rate(tokens, self._writing_until - (self._writing_since or 0.0))

    def _worker(self, name: str) -> WorkerState:
        return self.workers.setdefault(name, WorkerState(name, len(self.workers)))

    def _wrote(self, time: float) -> None:
        self._writing_since = time if self._writing_since is None else self._writing_since
        self._writing_until = time

    def _on_started(self, event: ev.Started) -> None:
        self.started = event
        for name in event.workers:
            self._worker(name)

    def _on_prefilled(self, event: ev.Prefilled) -> None:
        self.prefilled = (event.done, event.total)

    def _on_token(self, event: ev.Token) -> None:
        worker = self._worker(event.worker)
        worker.step = event.step
        worker.text += event.text
        worker.tokens += 1
        if worker.status == "waiting":
            worker.status = "writing"
        self._wrote(event.time)

    def _on_step_started(self, event: ev.StepStarted) -> None:
        worker = self._worker(event.worker)
        checked = worker.status == "checking" and worker.step == event.step
        worker.step, worker.text = event.step, event.text
        worker.status = "checking" if checked else "writing"
        self._wrote(event.time)

    def _on_check_asked(self, event: ev.CheckAsked) -> None:
        worker = self._worker(event.worker)
        worker.step, worker.status = event.step, "checking"

    def _on_step_finished(self, event: ev.StepFinished) -> None:
        worker = self._worker(event.worker)
        worker.text = ""
        worker.status = "left" if worker.status == "left" else "waiting"
        body = words.step_body(event.worker, event.step, event.text)
        self.history.append(Entry("step", body, event.worker, event.step))

    def _on_steps_dropped(self, event: ev.StepsDropped) -> None:
        self.dropped += event.count

    def _on_said(self, event: ev.Said) -> None:
        self.history.append(Entry("said", text.clean(event.text).strip("\n"), event.name))

    def _on_worker_joined(self, event: ev.WorkerJoined) -> None:
        self._worker(event.worker).status = "waiting"

    def _on_worker_left(self, event: ev.WorkerLeft) -> None:
        self._worker(event.worker).status = "left"

    def _on_budget_reached(self, event: ev.BudgetReached) -> None:
        self.answering = True

    def _on_answer_token(self, event: ev.AnswerToken) -> None:
        self.answering = True
        self.answer += event.text

    def _on_finished(self, event: ev.Finished) -> None:
        self.finished, self.answering = event, False
        self.answer = event.text
        for name, count in event.tokens.items():
            self._worker(name).tokens = count
