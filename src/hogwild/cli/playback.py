"""Play a trace, or draw a frame of it: the same views as of a run, fed from a file."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from hogwild.cli import view
from hogwild.cli.board import Board
from hogwild.cli.live import print_transcript
from hogwild.cli.request import check_writable, within
from hogwild.cli.screen import render
from hogwild.errors import InputError, OptionError, TraceError
from hogwild.team import events as ev
from hogwild.team.trace import read_trace

_FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, DejaVu Sans Mono, Menlo, Consolas"


def play(trace: Path, speed: str | None, *, json: bool, quiet: bool) -> None:
    """Show the run that ``trace`` holds, at ``speed`` (see `parse_speed`)."""
    rate = parse_speed(speed)
    events = read(trace)
    if rate == 0 and not (json or quiet) and view.on_terminal():
        print_transcript(fold(events), Console())
    else:
        view.follow(paced(events, rate), view.choose(json=json, quiet=quiet, hint="Ctrl-C: end"))


def read(trace: Path) -> list[ev.Event]:
    """The events of a trace; `TraceError` where there are none."""
    events = read_trace(trace)
    if not events:
        raise TraceError(f"trace {str(trace)!r} holds no event: the run ended before it began")
    return events


def parse_speed(value: str | None) -> float:
    """``1.5`` as a factor, ``max`` and ``0`` as 0 (no waiting); None is 1 on a terminal and 0 elsewhere."""
    if value is None:
        return 1.0 if view.on_terminal() else 0.0
    try:
        rate = 0.0 if value == "max" else float(value)
    except ValueError:
        raise OptionError(f"--speed: {value!r} is no number; give a factor like 2, or max") from None
    within("--speed", rate, 0)
    return rate


def paced(events: list[ev.Event], rate: float) -> Iterator[ev.Event]:
    """``events``, each when its time has come, ``rate`` times as fast as they happened; 0 is at once."""
    begin = time.monotonic()
    for event in events:
        if rate > 0:
            time.sleep(max(event.time / rate - (time.monotonic() - begin), 0.0))
        yield event


def fold(events: list[ev.Event], at: float | None = None) -> Board:
    """The board ``at`` seconds into the run; None is the end."""
    board = Board()
    for event in events:
        if at is None or event.time <= at:
            board.apply(event)
    return board


def draw(trace: Path, file: Path, at: float | None, width: int, height: int) -> None:
    """Write what the live view showed ``at`` seconds (None: at the end) to ``file`` as SVG."""
    within("--width", width, 40, 400)
    within("--height", height, 10, 200)
    within("--at", at, 0)
    check_writable("--svg", file)
    picture = svg(fold(read(trace), at), width, height)
    try:
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--svg: {str(file)!r} cannot be written: {error.strerror}") from error


def svg(board: Board, width: int, height: int) -> str:
    """One frame of the live view as an SVG picture of ``width`` x ``height`` cells."""
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(render(board, width, height))
    picture = console.export_svg(title="hogwild run")
    return _FONT_FACES.sub("", picture).replace("Fira Code", _FONTS)  # a picture that fetches nothing from anywhere
