"""Results as tables, and as a page of Markdown with its plots."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hogwild.bench.machine import Machine
from hogwild.bench.report import Table
from hogwild.errors import InputError
from hogwild.eval import figures, results
from hogwild.eval.collaboration import Collaboration, by_method, collaboration_table
from hogwild.eval.figures import AtEnd, Difference, Estimate, Point
from hogwild.eval.records import Record
from hogwild.eval.traces import units


@dataclass(frozen=True)
class Report:
    """The figures of one folder. ``first`` is the method that all others are measured by; ``collaboration`` of each
    method with several workers whose traces were kept.
    """

    task: str
    title: str
    small_print: str
    first: str
    points: Sequence[Point]
    differences: Sequence[Difference]
    ends: Sequence[AtEnd]
    collaboration: Mapping[str, Sequence[Collaboration]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, methods: Sequence[str] = ()) -> Report:
        """The report on a folder: on all methods, or on some, in the order in which they are named.

        Raises `InputError` where there is nothing yet, and for a method that is not there.
        """
        folder = results.read(path)
        unknown = [name for name in methods if name not in folder.run["methods"]]
        if unknown:
            known = ", ".join(folder.run["methods"])
            raise InputError(f"{path}: there is no method {unknown[0]!r}; give some of {known}")
        wanted = list(methods) or list(folder.run["methods"])
        chosen = [one for one in folder.sorted() if one.method in wanted]
        there = figures.table(sorted(chosen, key=lambda one: wanted.index(one.method)))
        if not there:
            raise InputError(f"{path}: no unit has ended yet; let `hogwild eval run` go on")
        points = figures.points(there)
        first = points[0].method
        title = f"{folder.run['task']}, {model_name(folder.run)}"
        different, ends = figures.differences(there, first), figures.at_end(points)
        together = by_method(units(folder, wanted))
        return cls(folder.run["task"], title, small_print(folder.run), first, points, different, ends, together)

    @property
    def methods(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(point.method for point in self.points))

    @property
    def budgets(self) -> list[int]:
        """All budgets, rising."""
        return sorted({point.budget for point in self.points})

    def tables(self) -> list[Table]:
        """Accuracy by budget, differences, the ends, what each point took, and how the workers worked together."""
        found = [self._accuracy()]
        if self.differences:
            found.append(self._differences())
        found += [self._ends(), self._details()]
        if self.collaboration:
            known = {name: self.collaboration[name] for name in self.methods if name in self.collaboration}
            found.append(collaboration_table(known, "Collaboration: means over the runs, to their ends"))
        return found

    def _accuracy(self) -> Table:
        cells = {(one.method, one.budget): percent(one.accuracy) for one in self.points}
        title = f"{self.title}: accuracy in % (95% interval) by budget in passes"
        return self._matrix(title, self.methods, cells)

    def _differences(self) -> Table:
        cells = {(one.method, one.budget): gain(one.gain) for one in self.differences}
        title = f"Points above {self.first}, paired (95% interval; * without 0)"
        return self._matrix(title, [name for name in self.methods if name != self.first], cells)

    def _matrix(self, title: str, methods: Sequence[str], cells: dict[tuple[str, int], str]) -> Table:
        rows = [(name, *(cells.get((name, budget), "") for budget in self.budgets)) for name in methods]
        return Table(title, ("method", *(f"{budget:,}" for budget in self.budgets)), tuple(rows))

    def _ends(self) -> Table:
        columns = ("method", "largest budget", "accuracy there", f"as good as {self.first} from", "ratio of budgets")
        rows = [
            (
                one.method,
                f"{one.budget:,}",
                percent(one.accuracy),
                "never" if one.enough is None else f"{one.enough:,}",
                "" if one.ratio is None else f"{one.ratio:.2f}",
            )
            for one in self.ends
        ]
        return Table(
            f"At the end, and the smallest budget with the final accuracy of {self.first}", columns, tuple(rows)
        )

    def _details(self) -> Table:
        columns = (
            "method", "budget", "units", "accuracy", "no answer", "failed", "cut by the window",
            "passes", "tokens", "seconds",
        )  # fmt: skip
        rows = [
            (
                one.method,
                f"{one.budget:,}",
                f"{one.units:,}",
                f"{one.accuracy.mean:.1%}",
                share(one.nothing),
                share(one.failed),
                share(one.window),
                f"{one.passes:,.0f}",
                f"{one.tokens:,.0f}",
                f"{one.seconds:,.1f}",
            )
            for one in self.points
        ]
        return Table("What became of the units, and the medians of what they took", columns, tuple(rows))

    def markdown(self, plots: Sequence[str]) -> str:
        """The page. ``plots`` are the files to be shown, relative to it."""
        shown = [f"![{Path(name).stem.replace('-', ' ')}]({name})\n" for name in plots]
        tables = [table.markdown() for table in self.tables()]
        return "\n".join([f"# {self.title}\n", tables[0], *shown, *tables[1:], self.small_print, ""])

    def write(self, folder: Path, prefix: str = "") -> Path:
        """``report.md`` and the plots, with ``prefix`` before each name. Returns the page; needs matplotlib."""
        from hogwild.eval import plots

        made = list[str]()
        for name, draw in plots.PLOTS.items():
            figure = draw(self)
            if figure is not None:
                made.append(plots.save(figure, folder / f"{prefix}{name}").name)
        page = folder / f"{prefix}report.md"
        page.write_text(self.markdown(made), encoding="utf-8")
        return page


def draw_together(reports: Mapping[str, Report], folder: Path) -> list[Path]:
    """One plot of accuracy against passes for each task that several reports are of; needs matplotlib.

    ``reports`` by the names that lead those of their methods there. Returns the plots, named after their tasks.
    """
    from hogwild.eval import plots

    made = list[Path]()
    for task in dict.fromkeys(one.task for one in reports.values()):
        mine = {name: one for name, one in reports.items() if one.task == task}
        points = [
            replace(point, method=f"{name}: {point.method}") for name, one in mine.items() for point in one.points
        ]
        if len(mine) > 1:
            all_ = Report(task, task, "", points[0].method, points, (), ())
            made.append(plots.save(plots.passes(all_), folder / re.sub(r"[^\w.+-]+", "_", f"{task}-together")))
    return made


def model_name(run: dict[str, Any]) -> str:
    """The model, its adapter, and dtype and bits where they are not its own. Of a folder the last part is enough."""
    given = (str(run[key]) for key in ("model", "adapter") if run.get(key))
    name = " + ".join(one.rstrip("/").rsplit("/", 1)[-1] for one in given)
    how = [str(run[key]) for key in ("dtype", "quantize", "kv_dtype") if run.get(key) not in (None, "none")]
    return f"{name} ({', '.join(how)})" if how else name


def small_print(run: dict[str, Any]) -> str:
    """Of which data, with which seeds, where, when."""
    data, machines = run["data"], [Machine(**one["machine"]) for one in run["sessions"]]
    commits = list(dict.fromkeys(machine.commit for machine in machines))
    several = f" Made by several commits: {', '.join(commits)}." if len(commits) > 1 else ""
    seeds = "seed 0" if run["seeds"] == 1 else f"seeds 0 to {run['seeds'] - 1}"
    sampling = ", ".join(f"{name} {value}" for name, value in run["sessions"][-1]["sampling"].items() if value)
    return (
        f"{run['limit']} problems of {data['origin']} (SHA-256 {data['checksum'][:12]}), "
        f"{seeds}, {run['parallel']} at once, {sampling}. Intervals: Wilson where each problem is right or wrong once, "
        f"else a bootstrap over problems.{several} {machines[-1]}"
    )


def compare(left: Path, left_method: str | None, right: Path, right_method: str | None) -> list[Table]:
    """Two folders, method by method, or two methods: paired, at each budget that both have. Raises `InputError`."""
    ours, theirs = results.read(left), results.read(right)
    if ours.run["task"] != theirs.run["task"]:
        tasks = f"{ours.run['task']} and {theirs.run['task']}"
        raise InputError(f"{left} and {right} are of different tasks, {tasks}: only one task can be compared")
    known = theirs.run["problems"]
    changed = [name for name, found in ours.run["problems"].items() if known.get(name, found) != found]
    if changed:
        raise InputError(f"{left} and {right} have different problems under the name {changed[0]!r}: data have changed")
    one, two = figures.table(ours.sorted()), figures.table(theirs.sorted())
    pairs = _pairs([name for name, _ in one], left_method, [name for name, _ in two], right_method)
    names = f"{left}", f"{right}"
    return [_comparison(one, two, a, b, f"{names[0]}: {a}", f"{names[1]}: {b}") for a, b in pairs]


def _pairs(ours: Sequence[str], mine: str | None, theirs: Sequence[str], yours: str | None) -> list[tuple[str, str]]:
    for name, known in ((mine, ours), (yours, theirs)):
        if name is not None and name not in known:
            raise InputError(f"there is no method {name!r}: known are {', '.join(dict.fromkeys(known)) or 'none'}")
    if mine is not None or yours is not None:
        pair = mine or yours, yours or mine
        found = [(a, b) for a, b in [pair] if a is not None and b is not None and a in ours and b in theirs]
    else:
        found = [(name, name) for name in dict.fromkeys(ours) if name in theirs]
    if not found:
        raise InputError("the two have no method in common: name one of each, like DIR:METHOD")
    return found


def _comparison(one: figures.Table, two: figures.Table, a: str, b: str, left: str, right: str) -> Table:
    rows = list[tuple[str, ...]]()
    for budget in sorted({budget for name, budget in one if name == a} & {budget for name, budget in two if name == b}):
        ours, theirs = _common(one[a, budget], two[b, budget])
        found = figures.difference(theirs, ours)
        if found is not None:
            accuracies = percent(figures.accuracy(ours)), percent(figures.accuracy(theirs))
            rows.append((f"{budget:,}", str(found.count), *accuracies, gain(found)))
    if not rows:
        raise InputError(f"{left} and {right} have no budget with problems in common")
    title = f"A = {left}, B = {right}: in %, and B - A in points, paired (95% interval; * without 0)"
    return Table(title, ("budget", "problems", "A", "B", "B - A"), tuple(rows))


def _common(left: Sequence[Record], right: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    both = {(one.problem, one.seed) for one in left} & {(one.problem, one.seed) for one in right}
    ours, theirs = ([one for one in side if (one.problem, one.seed) in both] for side in (left, right))
    return ours, theirs


def percent(value: Estimate) -> str:
    """``62.5 (51-73)``."""
    if math.isnan(value.low):
        return f"{100 * value.mean:.1f}"
    return f"{100 * value.mean:.1f} ({100 * value.low:.0f}–{100 * value.high:.0f})"


def gain(value: Estimate) -> str:
    """``+12.5 (+2 to +23) *``."""
    if math.isnan(value.low):
        return f"{100 * value.mean:+.1f}"
    sure = " *" if value.low > 0 or value.high < 0 else ""
    return f"{100 * value.mean:+.1f} ({100 * value.low:+.0f} to {100 * value.high:+.0f}){sure}"


def share(value: float) -> str:
    """Per cent; nothing for none, so that what is there is seen."""
    return f"{value:.0%}" if value else "·"
