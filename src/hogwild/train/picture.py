"""A run of training as a picture: its loss, and what teams of the model have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_log(lines: Sequence[Mapping[str, Any]], title: str, path: Path) -> bool:
    """Draw a log's lines to ``path`` (png or svg). Whether there was matplotlib to do it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    steps = [line for line in lines if "loss" in line]
    measured = [line for line in lines if "once" in line]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([line["step"] for line in steps], [line["loss"] for line in steps], lw=0.8)
    left.set_yscale("log")
    left.set_xlabel("step")
    left.set_title("loss of a token", fontsize=9)
    at = [line["step"] for line in measured]
    for name, label in (("once", "parts answered once"), ("right", "right"), ("right_one", "right, one worker")):
        right.plot(at, [line[name] for line in measured], marker=".", label=label)
    shares = [line["passes"] / max(line["passes_one"], 1e-9) for line in measured]
    right.plot(at, shares, marker=".", ls="--", label="passes / those of one worker")
    right.set_xlabel("step")
    right.set_ylim(0, 1.1)
    right.set_title("new tasks, new words", fontsize=9)
    if measured:
        right.legend(fontsize=7)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)
    return True
