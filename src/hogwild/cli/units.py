"""How far an evaluation is, on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from hogwild.cli import text

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


class Units:
    """Counts the units of an evaluation that have ended; a context manager around the work."""

    def __init__(self, total: int, there: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self._console = Console(stderr=True)
        self._began = self._told = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(self._line(), total=total)
        if there:
            self._print(f"{text.plural(there, 'unit')} of these are done already")

    def ended(self, error: str | None) -> None:
        """One more has, perhaps with an error; the first errors are shown."""
        self.done += 1
        self.failed += error is not None
        if error is not None and self.failed <= 3:
            self._print(f"failed: {error}")
        self._bar.update(self._task, description=self._line(), completed=self.done)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._told >= EVERY or self.done == self.total):
            self._told = now
            self._print(self._line())

    def _line(self) -> str:
        parts = [f"{self.done:,} of {text.plural(self.total, 'unit')}"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if 0 < self.done < self.total:
            left = (time.monotonic() - self._began) / self.done * (self.total - self.done)
            parts.append(f"about {duration(left)} left")
        return text.SEPARATOR.join(parts)

    def _print(self, line: str) -> None:
        self._console.print(Text(text.one_line(line), style="dim"), soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()
        if kind is KeyboardInterrupt:
            self._print(f"interrupted with {self._line()}: the same command goes on from there")


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
