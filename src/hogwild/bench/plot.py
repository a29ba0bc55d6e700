"""A comparison as a picture. matplotlib comes with the extra ``eval``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from hogwild.bench.compare import Standing
from hogwild.errors import OptionError

PICTURES = (".svg", ".png")


def plot_needs(paths: Iterable[Path]) -> None:
    """Raise `OptionError` where a picture is asked for and matplotlib is missing."""
    wanted = [path for path in paths if path.suffix in PICTURES]
    if wanted and importlib.util.find_spec("matplotlib") is None:
        raise OptionError(f"{wanted[0]} is a picture, and matplotlib is not installed: pip install 'hogwild[eval]'")


def draw(standings: Sequence[Standing], title: str, small_print: str, path: Path) -> None:
    """Bars of total tokens a second, a group for each context and number of sequences; the median and 10–90%."""
    from matplotlib.figure import Figure

    places = list(dict.fromkeys((one.context, one.workers) for one in standings))
    names = list(dict.fromkeys(one.name for one in standings))
    figure = Figure(figsize=(2.5 + 2.2 * len(places), 4.8), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        found = {(one.context, one.workers): one for one in standings if one.name == name}
        at = [i + (number - (len(names) - 1) / 2) * width for i, place in enumerate(places) if place in found]
        mine = [found[place] for place in places if place in found]
        axes.bar(at, [one.tokens_per_second for one in mine], width, label=name)
        for x, one in zip(at, mine, strict=True):
            axes.plot([x, x], [one.workers / one.seconds.p90, one.workers / one.seconds.p10], color="black", lw=1)
    axes.set_xticks(range(len(places)), [f"{context:,} tokens\n{workers} sequences" for context, workers in places])
    axes.set_ylabel("tokens a second, all sequences")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7)
    figure.text(0.01, -0.01, small_print, fontsize=5, va="top", wrap=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
