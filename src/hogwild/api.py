"""The simplest way in: a task in, an answer or events out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hogwild.engine import Engine
from hogwild.models.adapter import adapter_of
from hogwild.schedule import run_together
from hogwild.team.events import Event, Finished
from hogwild.team.team import Team
from hogwild.team.text import Message

DEFAULT_MODEL = "smollm2-135m-instruct"


AUTO = "auto"
"""As an adapter: that of the package, where there is one for the model and the team shares out the work itself."""


def stream(
    task: str | Sequence[Message],
    model: str | Path | Engine = DEFAULT_MODEL,
    *,
    adapter: str | Path | None = AUTO,
    **options: Any,
) -> Iterator[Event]:
    """Run a team on a task; what happens comes out, from `Started` to `Finished`.

    ``task`` is a text, or a list of messages. ``model`` is an `Engine`, or what `Engine.load` takes, as ``adapter`` is;
    by default it is that of `choose_adapter`. ``options`` are those of `Team`: ``workers``, ``layout``, ``assign``,
    ``budget``, ``seed``, ``sampling``, ``prompt``, ``answer`` and so on. Closing the iterator frees the team's blocks.
    Raises `HogwildError` for what cannot be, for options at once.
    """
    return make_team(_engine(model, adapter, options), task, options).run()


def _engine(model: str | Path | Engine, adapter: str | Path | None, options: Mapping[str, Any]) -> Engine:
    if isinstance(model, Engine):
        return model
    return Engine.load(model, adapter=choose_adapter(model, options) if adapter == AUTO else adapter)


def choose_adapter(model: str | Path, options: Mapping[str, Any]) -> str | None:
    """The adapter of the package for a packaged ``model`` and a team with these ``options``, or None.

    It is for several workers who share out the work themselves, in the layout that it was trained with; who says what
    the workers do, or how they are told, gets the model as it is.
    """
    workers = options.get("workers", 2)
    several = (workers if isinstance(workers, int) else len(workers)) > 1
    own = several and options.get("assign", "none") == "none" and options.get("prompt") is None
    return adapter_of(str(model)) if own and options.get("layout", "combined") == "combined" else None


def make_team(engine: Engine, task: str | Sequence[Message], options: Mapping[str, Any]) -> Team:
    """A team with the ``options`` that the engine's adapter was trained for, and those of a person in their place."""
    learnt = {} if engine.adapter is None else engine.adapter.team
    return Team(engine, task, **{**learnt, **options})


def solve(task: str | Sequence[Message], model: str | Path | Engine = DEFAULT_MODEL, **options: Any) -> Finished:
    """Run a team to the end and return the last event: ``text``, ``answer``, ``passes``, ``tokens`` and times.

    Takes what `stream` takes.
    """
    last = deque(stream(task, model, **options), maxlen=1).pop()
    assert isinstance(last, Finished), "a run ends with its last event"
    return last


def solve_many(
    tasks: Sequence[str | Sequence[Message]], model: str | Path | Engine = DEFAULT_MODEL, **options: Any
) -> list[Finished]:
    """Run a team on each of many tasks, all together: the same tokens as one after another, in a fraction of the time.

    Returns the last event of each, in order. ``options`` are those of `Team`, the same for all. Raises `HogwildError`
    for what cannot be, and what the first of the failed teams has failed by, once all others have ended.
    """
    engine = _engine(model, AUTO, options)
    teams, last = [make_team(engine, task, options) for task in tasks], dict[int, Event]()
    jobs = run_together(engine, teams, [partial(last.__setitem__, number) for number in range(len(teams))])
    errors = [job.error for job in jobs if job.error is not None]
    if errors:
        raise errors[0]
    return [event for _, event in sorted(last.items()) if isinstance(event, Finished)]
