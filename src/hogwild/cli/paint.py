"""What the live view is painted with: colours, a progress bar, the newest lines of a long text, a titled box."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

from hogwild.cli.board import Entry

# Told apart on dark and on light ground; neighbours differ most. One for each of up to 16 workers.
_COLOURS = (
    "cyan", "magenta", "green", "yellow", "blue", "bright_red", "turquoise2", "orchid",
    "chartreuse3", "dark_orange", "dodger_blue1", "hot_pink", "spring_green3", "gold3", "medium_purple", "salmon1",
)  # fmt: skip


def colour(index: int) -> str:
    """The colour of the worker that appeared as number ``index``."""
    return _COLOURS[index % len(_COLOURS)]


class Tail:
    """The newest lines that fit: ``lines``, wrapped to the width given; the oldest fall off the top."""

    def __init__(self, lines: Iterable[Text]) -> None:
        self.lines = list(lines)

    def wrapped(self, console: Console, width: int, height: int) -> list[Text]:
        """At most ``height`` lines of at most ``width`` cells; wraps no more of the text than it shows."""
        shown: list[Text] = []
        parts = (part for line in reversed(self.lines) for part in reversed(line.split(allow_blank=True)))
        while len(shown) < height and (part := next(parts, None)) is not None:
            shown += reversed(part.wrap(console, max(width, 1), overflow="fold") or [Text()])
        return shown[: max(height, 0)][::-1]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.max_height if options.height is None else options.height
        for line in self.wrapped(console, options.max_width, height):
            line.no_wrap, line.overflow = True, "crop"
            yield line


def entry_text(entry: Entry, style: str) -> Text:
    """One entry of the history, its label in the ``style`` of who wrote it."""
    if entry.kind == "notice":
        return Text(f"  {entry.text}", style="dim italic")
    label = f"{entry.name} [{entry.step}]" if entry.kind == "step" else f"{entry.name} says"
    return Text.assemble((label, f"bold {style}"), " ", entry.text)


def gauge(part: int, whole: int, width: int, style: str = "cyan") -> Text:
    """A bar of ``width`` cells, filled by ``part`` of ``whole``."""
    filled = round(width * min(part / whole, 1.0)) if whole > 0 else 0
    return Text.assemble(("━" * filled, style), ("─" * (width - filled), "grey50"))


def box(content: RenderableType, width: int, height: int, title: Text, note: str = "", style: str = "grey50") -> Panel:
    """A box of exactly ``width`` x ``height`` cells, its title at the top left, a note at the bottom right."""
    return Panel(
        content,
        box=ROUNDED,
        width=width,
        height=height,
        padding=(0, 1),
        title=title,
        title_align="left",
        subtitle=Text(note, style="dim") if note else None,
        subtitle_align="right",
        border_style=style,
    )


def ends(left: Text, right: Text, width: int) -> Text:
    """One line of ``width`` cells: ``left`` at its start, cut if need be, ``right`` at its end."""
    room = width - right.cell_len - 1
    if room < 8:
        right, room = Text(), width
    line = left.copy()
    line.truncate(max(room, 0), overflow="ellipsis")
    line.append(" " * (width - line.cell_len - right.cell_len))
    line.append_text(right)
    line.no_wrap, line.overflow = True, "crop"
    return line
