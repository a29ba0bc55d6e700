"""Figures from records: means with 95% intervals, and differences between methods on the same problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from hogwild.eval.records import Record

RESAMPLES = 10_000
"""Of a bootstrap; its random numbers are always the same, so a report made again says the same."""

Z95 = 1.959964
"""The standard normal's 97.5th percentile."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval, over ``count`` problems. With one problem there is no interval: it is NaN."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Point:
    """One method at one budget.

    Attributes:
        accuracy: the mean score.
        nothing, failed, window: shares of the units without an answer, that failed, that the window or a full cache
            cut off.
        passes, tokens, seconds: medians over the units.
    """

    method: str
    budget: int
    accuracy: Estimate
    units: int
    nothing: float
    failed: float
    window: float
    passes: float
    tokens: float
    seconds: float


@dataclass(frozen=True)
class Difference:
    """How much higher ``method`` scores than ``other`` at one budget, on the same problems with the same seeds."""

    method: str
    other: str
    budget: int
    gain: Estimate


@dataclass(frozen=True)
class AtEnd:
    """One method at its largest budget, beside the first method.

    Attributes:
        accuracy: there.
        enough: the smallest budget at which it has the first method's final accuracy, or None.
        ratio: that, by the smallest budget at which the first method has its own final accuracy; or None.
    """

    method: str
    budget: int
    accuracy: Estimate
    enough: int | None
    ratio: float | None


Table = Mapping[tuple[str, int], Sequence[Record]]
"""The records of each method and budget."""


def table(records: Sequence[Record]) -> Table:
    """Records by method and budget, in the order in which methods come first, budgets rising."""
    order = {name: place for place, name in enumerate(dict.fromkeys(record.method for record in records))}
    found: dict[tuple[str, int], list[Record]] = {}
    for record in sorted(records, key=lambda one: (order[one.method], one.budget)):
        found.setdefault((record.method, record.budget), []).append(record)
    return found


def points(records: Table) -> list[Point]:
    """A point for each method and budget."""
    return [_point(method, budget, there) for (method, budget), there in records.items()]


def _point(method: str, budget: int, records: Sequence[Record]) -> Point:
    def share(count: int) -> float:
        return count / len(records)

    def middle(values: list[float]) -> float:
        return float(np.median(values))

    return Point(
        method,
        budget,
        accuracy(records),
        len(records),
        share(sum(one.status == "nothing" and not one.failed for one in records)),
        share(sum(one.failed for one in records)),
        share(sum(one.reason in ("window", "cache") for one in records)),
        middle([one.passes for one in records]),
        middle([one.tokens for one in records]),
        middle([one.seconds for one in records]),
    )


def accuracy(records: Sequence[Record]) -> Estimate:
    """The mean score. The interval is Wilson's where each problem is right or wrong once, else a bootstrap's."""
    values = _by_problem({(one.problem, one.seed): one.value for one in records})
    if len(values) == len(records) and set(values) <= {0.0, 1.0}:
        return wilson(float(values.sum()), len(values))
    found = bootstrap(values)
    if found.low == found.high and found.mean in (0.0, 1.0):  # no spread in the sample says little about the spread
        return wilson(float(values.sum()), len(values))
    return found


def difference(left: Sequence[Record], right: Sequence[Record]) -> Estimate | None:
    """How much higher ``left`` scores than ``right``, where both have the same problem and seed; None for nowhere."""
    others = {(one.problem, one.seed): one.value for one in right}
    pairs = {key: one.value - others[key] for one in left if (key := (one.problem, one.seed)) in others}
    return bootstrap(_by_problem(pairs)) if pairs else None


def differences(records: Table, other: str) -> list[Difference]:
    """Each method against ``other``, at each budget that both have."""
    found = list[Difference]()
    for (method, budget), there in records.items():
        theirs = records.get((other, budget))
        if method != other and theirs and (gain := difference(there, theirs)) is not None:
            found.append(Difference(method, other, budget, gain))
    return found


def at_end(made: Sequence[Point]) -> list[AtEnd]:
    """Each method at its largest budget; the first method of ``made`` is the one that all are measured by."""
    first = [one for one in made if one.method == made[0].method]
    goal = first[-1].accuracy.mean
    needed = next(one.budget for one in first if one.accuracy.mean >= goal)
    found = list[AtEnd]()
    for method in dict.fromkeys(one.method for one in made):
        mine = [one for one in made if one.method == method]
        enough = next((one.budget for one in mine if one.accuracy.mean >= goal), None)
        ratio = None if enough is None else enough / needed
        found.append(AtEnd(method, mine[-1].budget, mine[-1].accuracy, enough, ratio))
    return found


def wilson(right: float, count: int) -> Estimate:
    """Wilson's score interval of a share."""
    share, z = right / count, Z95**2 / count
    middle = (share + z / 2) / (1 + z)
    half = Z95 / (1 + z) * math.sqrt(share * (1 - share) / count + z / (4 * count))
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0), count)


def bootstrap(values: npt.NDArray[np.float64]) -> Estimate:
    """The mean of values, one a problem, with the percentiles of means over problems drawn anew."""
    if len(values) < 2:
        return Estimate(float(values.mean()), math.nan, math.nan, len(values))
    low, high = np.percentile(_weights(len(values)) @ values, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


@cache
def _weights(count: int) -> npt.NDArray[np.float64]:
    """How much each problem counts in each resample [resamples, problems]."""
    drawn = np.random.default_rng(0).multinomial(count, [1 / count] * count, size=RESAMPLES)
    return np.asarray(drawn / count, dtype=np.float64)


def _by_problem(values: Mapping[tuple[str, int], float]) -> npt.NDArray[np.float64]:
    """The mean over the seeds of each problem."""
    found: dict[str, list[float]] = {}
    for (problem, _), value in values.items():
        found.setdefault(problem, []).append(value)
    return np.array([sum(one) / len(one) for one in found.values()], dtype=np.float64)
