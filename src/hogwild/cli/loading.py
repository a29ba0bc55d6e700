"""What a person sees on standard error while a model is fetched and loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from hogwild.cli import text
from hogwild.models import packaged


def hush(model: str) -> None:
    """Keep the libraries that load ``model`` from writing to the terminal, unless HOGWILD_DEBUG is set.

    Only the download of a hub id tells its own progress. To be called before those libraries are imported.
    """
    if not os.environ.get("HOGWILD_DEBUG"):
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
        if _is_here(model):
            os.environ.setdefault("TQDM_DISABLE", "1")


def _is_here(model: str) -> bool:
    return model in packaged.MODELS or Path(model).expanduser().exists()


@contextmanager
def loading(model: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes the bytes of a download that are done, and of all; on a terminal a bar shows them."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    console = Console(stderr=True)
    silent = not console.is_terminal or not _is_here(model)
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(escape(f"loading {text.one_line(model)}"), total=None, note="")

        def progress(done: int, total: int) -> None:
            whole = done >= total  # what is left is reading it: nobody knows how long that takes
            note = "" if whole else f"{text.size(done)} of {text.size(total)}"
            bar.update(task, completed=done, total=None if whole else total, note=note)

        yield progress
