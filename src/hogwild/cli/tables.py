"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hogwild.cli import text

if TYPE_CHECKING:
    from hogwild.bench.report import Table


def show(tables: Sequence[Table], small_print: str = "") -> None:
    """Print them; where it is no terminal, a row is a line."""
    out = Console()
    if not out.is_terminal:
        out.width = 250
    for table in tables:
        out.print(Text(text.one_line(table.title), style="italic"), soft_wrap=True)
        out.print(_drawn(table))
        out.print()
    if small_print:
        out.print(Text(small_print, style="dim"), soft_wrap=True)


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 or len(table.columns) == 2 else "right")
    for row in table.rows:
        drawn.add_row(*(Text(text.one_line(cell)) for cell in row))
    return drawn
