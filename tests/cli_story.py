"""Made-up runs for the tests of the command: the events that a team of so many workers would yield."""

from __future__ import annotations

from pathlib import Path

from hogwild.team import events as ev
from hogwild.team.events import EVENT, Event

NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mike", "Nina", "Oscar", "Peggy",
)  # fmt: skip
WORDS = [
    "the",
    "cat",
    "sat",
    "and",
    "thought",
    "about",
    "[red]markup[/red]",
    "while",
    "17",
    "×",
    "24",
    "=",
    "408",
    "went",
]


def story(workers: int = 2, steps: int = 2, words: int = 12, texts: list[str] | None = None) -> list[Event]:
    """A whole run: each worker writes ``steps`` finished steps of ``words`` tokens, and one that stays unfinished."""
    names, pieces = NAMES[:workers], texts or [f" {word}" for word in WORDS]
    told: list[Event] = [
        ev.Started(
            pass_=0, time=0.0, task="What is 17 × 24?\nExplain.", model="tiny", workers=list(names), layout="combined",
            budget=(steps + 1) * words, seeds=[0] * workers,
        ),
        ev.Planned(pass_=0, time=0.1, parts={names[0]: ["say [bold]hello", "count"]}),
        ev.Prefilled(pass_=0, time=0.5, done=300, total=630),
        ev.Prefilled(pass_=0, time=1.0, done=630, total=630),
    ]  # fmt: skip
    told += [ev.StepStarted(pass_=0, time=1.0, worker=name, step=1, text=f"{name} [1]: ") for name in names]
    done = 0
    for step in range(1, steps + 2):
        written = {name: f"{name} [{step}]: " for name in names}
        for word in range(words):
            done += 1
            for name in names:
                piece = pieces[(done + word) % len(pieces)]
                written[name] += piece
                told.append(ev.Token(pass_=done, time=1 + done / 10, worker=name, step=step, token=word, text=piece))
        if step <= steps:
            told += _next_step(names, step, done, written)
    return told + _end(names, done)


def _next_step(names: tuple[str, ...], step: int, done: int, written: dict[str, str]) -> list[Event]:
    told: list[Event] = []
    for name in names:
        now = {"pass_": done, "time": 1 + done / 10, "worker": name}
        told.append(ev.StepFinished(**now, step=step, text=written[name]))
        told.append(ev.StepStarted(**now, step=step + 1, text=f"{name} [{step + 1}]: "))
    told.append(ev.CheckAsked(pass_=done, time=1 + done / 10, worker=names[0], step=step + 1))
    return told


def _end(names: tuple[str, ...], done: int) -> list[Event]:
    end = 1 + done / 10
    return [
        ev.Said(pass_=done, time=end, name="You", text="hurry\nup"),
        ev.StepsDropped(pass_=done, time=end, count=1),
        ev.ToolCalled(pass_=done, time=end, worker=names[0], step=1, call="c1", name="clock", arguments='{"a": "[b]"}'),
        ev.ToolReturned(pass_=done, time=end, worker=names[0], step=1, call="c1", result="noon"),
        ev.Snapshot(pass_=done, time=end, budget=8, answer="407", text="It is 407."),
        ev.WorkerJoined(pass_=done, time=end, worker="Zoe"),
        ev.WorkerLeft(pass_=done, time=end, worker="Zoe", reason="asked"),
        ev.AnswerFound(pass_=done, time=end, worker=names[0], step=1, answer="408"),
        ev.BudgetReached(pass_=done, time=end, reason="budget"),
        ev.AnswerToken(pass_=done, time=end + 0.1, text="It is "),
        ev.AnswerToken(pass_=done, time=end + 0.2, text="408."),
        ev.Finished(
            pass_=done, time=end + 0.3, answer="408", text="It is 408.", reason="budget", passes=done,
            tokens=dict.fromkeys(names, done), prompt_tokens=630, prefill_seconds=1.0, decode_seconds=done / 10,
        ),
    ]  # fmt: skip


def lines(events: list[Event]) -> str:
    """The events as a trace holds them."""
    return "".join(event.model_dump_json(by_alias=True) + "\n" for event in events)


def parse(text: str) -> list[Event]:
    """The events of such lines."""
    return [EVENT.validate_json(line) for line in text.splitlines()]


def write(path: Path, events: list[Event]) -> Path:
    """A trace file of the events."""
    path.write_text(lines(events), encoding="utf-8")
    return path
