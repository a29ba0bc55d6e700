"""What every view says of a run, in sentences: the heading, the notices, the summary."""

from __future__ import annotations

import re

from hogwild.cli.text import SEPARATOR, clean, one_line, passes, plural, rate
from hogwild.team import events as ev


def step_body(worker: str, step: int, text: str) -> str:
    """A step's text without the label that it may open with, since the views put their own.

    That is ``Alice [2]:`` or, of the prompt set ``short``, ``Alice (A):``.
    """
    label = re.compile(rf"\s*\W{{0,2}}{re.escape(worker)} *(?:\[{step}\]|\([A-P]\))\W{{0,2}}:?\W{{0,2}}(?:\s+|$)")
    found = label.match(text)
    return clean(text[found.end() :] if found else text).strip("\n")


def heading(started: ev.Started) -> str:
    """What runs: model, layout, workers, budget."""
    crew = f"{plural(len(started.workers), 'worker')} ({', '.join(started.workers)})"
    return one_line(SEPARATOR.join([started.model, started.layout, crew, f"budget {passes(started.budget)}"]))


_STOPS = {
    "budget": "the budget is used up",
    "window": "the model's window is full",
    "cache": "the KV memory is full",
    "stopped": "the team was stopped",
}
_LEAVES = {"asked": "left", "done": "is done", "window": "left: its window is full"}


def notices(event: ev.Event) -> list[str]:
    """One line each for what an event has to tell beside the steps and the answer; most events have nothing."""
    if isinstance(event, ev.Planned):
        return [one_line(f"{name} does: {'; '.join(parts) or 'nothing'}") for name, parts in event.parts.items()]
    told = _notice(event)
    return [one_line(told)] if told else []


def _notice(event: ev.Event) -> str:
    told = ""
    match event:
        case ev.StepsDropped():
            told = f"the window was full: the oldest {plural(event.count, 'step')} left the view"
        case ev.CheckAsked():
            told = f"{event.worker} is asked whether step {event.step} is redundant"
        case ev.ToolCalled():
            told = f"{event.worker} calls {event.name}({event.arguments})"
        case ev.ToolReturned():
            told = f"{event.worker} is given: {event.result}"
        case ev.WorkerJoined():
            told = f"{event.worker} joined"
        case ev.WorkerLeft():
            told = f"{event.worker} {_LEAVES.get(event.reason, f'left: {event.reason}')}"
        case ev.AnswerFound():
            told = f"{event.worker} found an answer in step {event.step}: {event.answer}"
        case ev.Snapshot():
            answer = event.text if event.answer is None else event.answer
            told = f"the answer after {passes(event.budget)} would be: {answer}"
        case ev.BudgetReached():
            told = _STOPS.get(event.reason, event.reason)
    return told


def summary(done: ev.Finished, by_worker: bool = True) -> str:
    """The last line of every view: passes, tokens, tokens/s in total and per worker, prefill time."""
    total = sum(done.tokens.values())
    speeds = (f"{name} {rate(count, done.decode_seconds):.1f}" for name, count in done.tokens.items())
    each = f" ({', '.join(speeds)})" if by_worker and len(done.tokens) > 1 else ""
    parts = [
        passes(done.passes),
        plural(total, "token"),
        f"{rate(total, done.decode_seconds):.1f} tokens/s{each}",
        f"prefill {plural(done.prompt_tokens, 'token')} in {done.prefill_seconds:.1f} s",
    ]
    return one_line(SEPARATOR.join(parts))
