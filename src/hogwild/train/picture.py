"""A run of training as a picture: its loss, and what teams of the model have come to. Teams before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hogwild.train.measure import Figures


def draw_log(lines: Sequence[Mapping[str, Any]], title: str, path: Path) -> bool:
    """Draw a log's lines to ``path`` (png or svg). Whether there was matplotlib to do it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    steps = [line for line in lines if "loss" in line]
    measured = [line for line in lines if "once" in line]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, *more = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
    left.plot([line["step"] for line in steps], [line["loss"] for line in steps], lw=0.8)
    left.set_yscale("log")
    left.set_xlabel("step")
    left.set_title("loss of a token", fontsize=9)
    for axes in more:
        _draw_measured(axes, measured)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)
    return True


def _draw_measured(axes: Any, measured: Sequence[Mapping[str, Any]]) -> None:
    at = [line["step"] for line in measured]
    for name, label in (("once", "parts answered once"), ("right", "right"), ("right_one", "right, one worker")):
        axes.plot(at, [line[name] for line in measured], marker=".", label=label)
    shares = [line["passes"] / max(line["passes_one"], 1e-9) for line in measured]
    axes.plot(at, shares, marker=".", ls="--", label="passes / those of one worker")
    axes.set_xlabel("step")
    axes.set_ylim(0, 1.1)
    axes.set_title("new tasks, new words", fontsize=9)
    axes.legend(fontsize=7)


def draw_teams(figures: Mapping[str, Figures], title: str, path: Path) -> None:
    """Draw how many of the parts were right after how many passes, by who did them; to ``path`` (png or svg)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    last = max((at for one in figures.values() for at in one.right_at), default=1)
    for label, one in figures.items():
        times = sorted(one.right_at)
        shares = [count / max(one.parts, 1) for count in range(len(times) + 1)]
        axes.step([0, *times, last], [*shares, shares[-1]], where="post", label=label)
    axes.set_xlabel("passes")
    axes.set_ylabel("parts answered rightly")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)
