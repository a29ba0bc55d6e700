"""Open a team for a request, follow it to its end, and let Ctrl-C end it well."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hogwild.cli import view
from hogwild.cli.loading import loading
from hogwild.cli.request import Request, check_writable
from hogwild.models.parallel import launched

if TYPE_CHECKING:
    from hogwild.engine import Engine
    from hogwild.team.team import Team

HINT = "Ctrl-C: answer now"


def watch(request: Request, trace: Path | None, *, json: bool, quiet: bool) -> None:
    """Open the team and follow it to its end, into ``trace`` as well if that is given."""
    from hogwild.team.trace import TraceWriter

    shown = view.choose(json=json, quiet=quiet, hint=HINT)
    if trace is not None:
        check_writable("--trace", trace)  # before the model is loaded
    if launched().rank > 0:
        trace = None  # the first process writes it
    team = open_team(request)
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


def open_team(request: Request) -> Team:
    """Load the model, fetching it first if need be, and gather the team."""
    return make_team(load_engine(request), request)


def load_engine(request: Request) -> Engine:
    """Load the model of a request, with a bar on the terminal."""
    with loading(request.model) as progress:
        from hogwild.engine import Engine

        shared, options = launched().size > 1, request.engine_options()
        options["adapter"] = _adapter(request, shared)
        return Engine.load(request.model, progress=progress, tensor_parallel=shared, **options)


def _adapter(request: Request, shared: bool) -> str | None:
    from hogwild.api import choose_adapter

    if request.adapter is None:  # a model that several processes share takes none
        return None if shared else choose_adapter(request.model, request.team_options())
    return None if request.adapter == "none" else request.adapter


def make_team(engine: Engine, request: Request) -> Team:
    """The team that a request asks for."""
    from hogwild import api
    from hogwild.sampling import Sampling

    options = request.team_options()
    if request.sampling:
        options["sampling"] = replace(Sampling.from_generation_config(engine.generation_config), **request.sampling)
    return api.make_team(engine, request.task, options)
