"""Open a team for a request, follow it to its end, and let Ctrl-C end it well."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hogwild.cli import view
from hogwild.cli.loading import loading
from hogwild.cli.request import Request, check_writable
from hogwild.models.parallel import launched
from hogwild.team import events as ev

HINT = "Ctrl-C: answer now"


class Runner(Protocol):
    """What of a team this verb needs."""

    def run(self) -> Iterator[ev.Event]:
        """All events, to the end."""

    def stop(self) -> None:
        """Go to the finisher after this pass."""


def watch(request: Request, trace: Path | None, *, json: bool, quiet: bool) -> None:
    """Open the team and follow it to its end, into ``trace`` as well if that is given."""
    from hogwild.team.trace import TraceWriter

    shown = view.choose(json=json, quiet=quiet, hint=HINT)
    if trace is not None:
        check_writable("--trace", trace)  # before the model is loaded
    if launched().rank > 0:
        trace = None  # the first process writes it
    team = _open_team(request)
    with TraceWriter(trace) if trace else nullcontext() as writer, answering_on_interrupt(team.stop):
        view.follow(team.run(), shown, writer.write if writer else None)


@contextmanager
def answering_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, the first Ctrl-C calls ``stop``; from the second on Ctrl-C does what it always does."""

    def first(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _open_team(request: Request) -> Runner:
    """Load the model, fetching it first if need be, and gather the team."""
    with loading(request.model) as progress:
        from hogwild.engine import Engine
        from hogwild.sampling import Sampling
        from hogwild.team.team import Team

        shared = launched().size > 1
        engine = Engine.load(request.model, progress=progress, tensor_parallel=shared, **request.engine_options())
    options: dict[str, Any] = request.team_options()
    if request.sampling:
        options["sampling"] = replace(Sampling.from_generation_config(engine.generation_config), **request.sampling)
    return Team(engine, request.task, **options)
