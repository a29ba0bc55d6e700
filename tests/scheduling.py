"""What the tests of the scheduler share: teams to be run together, and the same teams alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hogwild import Engine, Event, Sampling, Team
from hogwild.schedule import Job, Scheduler

WARM = Sampling(temperature=0.8)


def team(engine: Engine, prompt: Path, number: int = 0, workers: int = 2, **given: Any) -> Team:
    """A team whose task, length and seed depend on its number."""
    options: dict[str, Any] = {"budget": 12 + number, "seed": number, "sampling": WARM, "answer_tokens": 5} | given
    return Team(engine, f"task {number} " * (1 + number * 7 % 5), workers, prompt=prompt, **options)


def submit(scheduler: Scheduler, one: Team, **options: Any) -> tuple[Job, list[Any]]:
    """The job of a team, and the list that its events come to."""
    events = list[Any]()
    return scheduler.submit(one, sink=events.append, **options), events


def finish(scheduler: Scheduler) -> None:
    """Go on until all have ended; then all pages are back."""
    while scheduler.step():
        pass
    assert scheduler.idle
    assert scheduler.engine.pool.used_pages == 0


def told(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What is the same in every run of a team: all but times, and how its prompt was cut."""
    kept = [event for event in events if event.kind != "prefilled"]
    return [event.model_dump(exclude={"time", "prefill_seconds", "decode_seconds", "versions"}) for event in kept]
