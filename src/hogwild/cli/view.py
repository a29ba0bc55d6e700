"""What every view is, which one fits, and the loop that feeds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Protocol

from rich.console import Console

from hogwild.cli.live import LiveView
from hogwild.cli.plain import JsonView, PlainView, QuietView
from hogwild.errors import OptionError
from hogwild.team import events as ev


class View(Protocol):
    """Shows a run, live or from a trace."""

    def show(self, event: ev.Event) -> None:
        """Take the next event in."""

    def close(self) -> None:
        """Show what is left to show; called once, also after an error or an interrupt."""


def on_terminal() -> bool:
    """Whether a person watches standard output on a terminal that can move its cursor."""
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


def choose(*, json: bool, quiet: bool, hint: str = "") -> View:
    """The view for the options and for what standard output is."""
    if json and quiet:
        raise OptionError("--json and --quiet cannot be had together; give one of them")
    if json:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # as JSON is, whatever the terminal's encoding
        return JsonView(sys.stdout)
    if quiet:
        return QuietView(sys.stdout)
    return LiveView(Console(), hint) if on_terminal() else PlainView(sys.stdout)


def follow(events: Iterable[ev.Event], view: View, record: Callable[[ev.Event], None] | None = None) -> None:
    """Feed ``view`` to the end; ``record`` gets each event first, so that a trace lacks nothing that was shown."""
    try:
        for event in events:
            if record is not None:
                record(event)
            view.show(event)
    finally:
        view.close()
