"""The plots of a report: accuracy against what it took, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hogwild.eval.figures import Estimate, Point
    from hogwild.eval.report import Report

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Colours that people with any colour vision can tell apart; after the last one they begin again, dashed."""

FORMATS = (".svg", ".png")
"""A plot is made in each of these."""

MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":")
SIZE = (8.0, 4.6)
BANDS = 4
"""The most methods whose intervals are drawn as bands."""

APART = 2.4
"""Points between the lines of two methods' intervals at the same place."""

GAP = 0.052
"""The least distance between two labels, as a share of the axes' height."""


def passes(report: Report) -> Figure:
    """Accuracy against the budget in passes."""
    return _curves(report, lambda point: point.budget, "budget, in sequential passes")


def seconds(report: Report) -> Figure | None:
    """Accuracy against the median seconds of decoding; None where nobody took time."""
    if not any(point.seconds for point in report.points):
        return None
    return _curves(report, lambda point: point.seconds, "seconds of decoding by then (median)")


def tokens(report: Report) -> Figure | None:
    """Accuracy against the median of all workers' tokens."""
    return _curves(report, lambda point: point.tokens, "tokens of all workers by then (median)")


def differences(report: Report) -> Figure | None:
    """Points above the first method; None where there is no other."""
    if not report.differences:
        return None
    figure, axes = _start(report, f"paired difference from {report.first}")
    axes.axhline(0, color="#666666", lw=1)
    ends = list[tuple[str, float, float]]()
    for name in report.methods:
        mine = [one for one in report.differences if one.method == name]
        if mine:
            at = [float(one.budget) for one in mine]
            _line(axes, report, name, at, [one.gain for one in mine])
            ends.append((name, at[-1], 100 * mine[-1].gain.mean))
    axes.set_xlabel("budget, in sequential passes")
    axes.set_ylabel("points of accuracy")
    _scale(axes, [float(budget) for budget in report.budgets])
    _labels(axes, report, ends)
    return figure


PLOTS: dict[str, Callable[[Report], Figure | None]] = {
    "passes": passes,
    "differences": differences,
    "seconds": seconds,
    "tokens": tokens,
}
"""Each plot, by the name of its file."""


def save(figure: Figure, name: Path) -> Path:
    """Write a plot in each of `FORMATS`, and return the first; the same plot gives the same file."""
    import matplotlib

    paths = [name.with_name(name.name + ending) for ending in FORMATS]
    with matplotlib.rc_context({"svg.hashsalt": "hogwild"}):
        for path in paths:
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths[0]


def _curves(report: Report, along: Callable[[Point], float], label: str) -> Figure:
    figure, axes = _start(report, "accuracy")
    ends = list[tuple[str, float, float]]()
    for name in report.methods:
        mine = [point for point in report.points if point.method == name]
        at = [float(along(point)) for point in mine]
        _line(axes, report, name, at, [point.accuracy for point in mine])
        ends.append((name, at[-1], 100 * mine[-1].accuracy.mean))
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, %")
    _scale(axes, [float(along(point)) for point in report.points])
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -3), min(high, 103))
    _labels(axes, report, ends)
    return figure


def _start(report: Report, what: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{report.title}:\n{what}, 95% intervals", fontsize=11, loc="left")
    axes.grid(color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _style(report: Report, name: str) -> dict[str, Any]:
    place = report.methods.index(name)
    turn, colour = divmod(place, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": MARKERS[colour],
        "linestyle": DASHES[turn % len(DASHES)],
    }


def _line(axes: Axes, report: Report, name: str, at: Sequence[float], values: Sequence[Estimate]) -> None:
    """A curve in its band; where many bands would cover each other, lines stand for it, a little apart."""
    style = _style(report, name)
    axes.plot(at, [100 * one.mean for one in values], lw=1.8, ms=5, label=name, **style)
    low = [100 * (one.mean if math.isnan(one.low) else one.low) for one in values]
    high = [100 * (one.mean if math.isnan(one.high) else one.high) for one in values]
    if len(report.methods) <= BANDS:
        axes.fill_between(at, low, high, color=style["color"], alpha=0.13, lw=0)
        return
    from matplotlib.transforms import ScaledTranslation

    aside = APART * (report.methods.index(name) - (len(report.methods) - 1) / 2)
    shifted = axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)
    axes.vlines(at, low, high, color=style["color"], lw=1.2, alpha=0.6, transform=shifted)
    axes.update_datalim([*zip(at, low, strict=True), *zip(at, high, strict=True)])
    axes.autoscale_view()


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Doubling steps where the values span much, and ticks in plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    if min(values) > 0 and max(values) / min(values) >= 6:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"))
    distinct = sorted(set(values))
    if len(distinct) <= 8 and all(value == int(value) for value in distinct):
        axes.set_xticks(distinct)


def _labels(axes: Axes, report: Report, ends: Sequence[tuple[str, float, float]]) -> None:
    """The curves' names at the right, the highest end first: level with the ends where these are above each other."""
    ordered = sorted(ends, key=lambda end: end[2])
    if len({x for _, x, _ in ends}) > 1:
        handles = {handle.get_label(): handle for handle in axes.get_lines()}
        drawn = [handles[name] for name, _, _ in reversed(ordered)]
        axes.legend(handles=drawn, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    places = _apart([(y - low) / (high - low) for _, _, y in ordered])
    for (name, x, y), place in zip(ordered, places, strict=True):
        colour = _style(report, name)["color"]
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.7, "relpos": (0, 0.5), "shrinkA": 1}
        text = {"fontsize": 9, "color": colour, "va": "center"}
        axes.annotate(name, (x, y), (1.04, place), textcoords="axes fraction", arrowprops=leader, **text)


def _apart(places: Sequence[float]) -> list[float]:
    """Rising places, moved as little as may be (in squares) so that none are nearer to each other than `GAP`."""
    groups = list[tuple[float, int]]()  # of neighbours that touch: the mean of where the first would be, and how many
    for number, place in enumerate(places):
        mean, count = place - number * GAP, 1
        while groups and groups[-1][0] > mean:
            other, more = groups.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        groups.append((mean, count))
    flat = [mean for mean, count in groups for _ in range(count)]
    return [mean + number * GAP for number, mean in enumerate(flat)]
