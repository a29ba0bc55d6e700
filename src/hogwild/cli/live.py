"""On a terminal: frames on the alternate screen while it runs, then the whole transcript for the scrollback."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from hogwild.cli import text, words
from hogwild.cli.board import Board, Entry
from hogwild.cli.paint import colour, entry_text
from hogwild.cli.screen import render
from hogwild.team import events as ev

FRAME_SECONDS = 1 / 15
FRAME_SHARE = 10  # drawing takes at most about one part in so many of the time


class LiveView:
    """Show events as they come, from the first one on; ``close`` prints the transcript so far."""

    def __init__(self, console: Console, hint: str = "") -> None:
        self.console = console
        self.board = Board()
        self.hint = hint
        self._live = Live(console=console, screen=True, auto_refresh=False, get_renderable=self._frame)
        self._due = 0.0

    def show(self, event: ev.Event) -> None:
        """Take an event in; draws a frame when one is due."""
        self.board.apply(event)
        self._live.start()
        begin = time.monotonic()
        rare = not isinstance(event, ev.Token | ev.AnswerToken)  # a long pause may follow
        if rare or begin >= self._due:
            self._live.refresh()
            end = time.monotonic()
            self._due = end + max(FRAME_SECONDS, FRAME_SHARE * (end - begin))

    def close(self) -> None:
        """Leave the alternate screen and print the transcript."""
        self._live.stop()
        print_transcript(self.board, self.console)

    def _frame(self) -> RenderableType:
        return render(self.board, *self.console.size, hint=self.hint)


def print_transcript(board: Board, console: Console) -> None:
    """Print all that a board holds."""
    for part in transcript(board):
        console.print(part)


def transcript(board: Board) -> Iterator[RenderableType]:
    """All that a board holds, in the order in which to read it: task, history, unfinished steps, answer, summary."""
    if board.started is not None:
        yield Text(words.heading(board.started), style="dim")
        yield Text.assemble(("task ", "bold"), text.clean(board.started.task).strip("\n"))
        yield Rule(style="grey35")
    for entry in board.history:
        worker = board.workers.get(entry.name)
        yield entry_text(entry, colour(worker.index) if worker else "white")
    for worker in board.workers.values():
        if body := words.step_body(worker.name, worker.step, worker.text):
            line = entry_text(Entry("step", body, worker.name, worker.step), colour(worker.index))
            yield line.append(" (unfinished)", style="dim italic")
    if board.finished is None:
        return
    yield Rule(Text("answer", style="bold green"), style="green", align="left")
    yield Text(text.clean(board.finished.text).strip("\n") or "(no answer)")
    yield Rule(style="grey35")
    yield Text(words.summary(board.finished), style="dim")
