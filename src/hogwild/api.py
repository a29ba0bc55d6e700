"""The simplest way in: a task in, an answer or events out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hogwild.engine import Engine
from hogwild.team.events import Event, Finished
from hogwild.team.team import Team
from hogwild.team.text import Message

DEFAULT_MODEL = "smollm2-135m-instruct"


def stream(
    task: str | Sequence[Message], model: str | Path | Engine = DEFAULT_MODEL, **options: Any
) -> Iterator[Event]:
    """Run a team on a task; what happens comes out, from `Started` to `Finished`.

    ``task`` is a text, or a list of messages. ``model`` is an `Engine`, or what `Engine.load` takes. ``options`` are
    those of `Team`: ``workers``, ``layout``, ``assign``, ``budget``, ``seed``, ``sampling``, ``prompt``, ``answer`` and
    so on. Closing the iterator frees the team's blocks. Raises `HogwildError` for what cannot be, for options at once.
    """
    engine = model if isinstance(model, Engine) else Engine.load(model)
    return Team(engine, task, **options).run()


def solve(task: str | Sequence[Message], model: str | Path | Engine = DEFAULT_MODEL, **options: Any) -> Finished:
    """Run a team to the end and return the last event: ``text``, ``answer``, ``passes``, ``tokens`` and times."""
    last = deque(stream(task, model, **options), maxlen=1).pop()
    assert isinstance(last, Finished), "a run ends with its last event"
    return last
