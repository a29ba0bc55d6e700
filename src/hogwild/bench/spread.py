"""Medians with their spread, and ratios pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The median, the 10th and the 90th percentile of ``count`` measurements, in their own unit."""

    median: float
    p10: float
    p90: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one measurement."""
        p10, median, p90 = np.percentile(np.asarray(values, dtype=np.float64), [10, 50, 90])
        return cls(float(median), float(p10), float(p90), len(values))


def ratios(upper: Sequence[float], lower: Sequence[float]) -> Spread:
    """The spread of ``upper[i] / lower[i]``: both were measured in round i, right after each other.

    What disturbs the machine for longer than a round disturbs both, and so leaves the ratio alone.
    """
    return Spread.of([a / b for a, b in zip(upper, lower, strict=True)])
