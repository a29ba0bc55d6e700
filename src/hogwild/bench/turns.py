"""Several that take turns: what disturbs the machine for longer than a round disturbs all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from hogwild.bench.contestants import Contestant


class Timed(Protocol):
    """Something that can be timed."""

    def seconds(self, passes: int) -> list[float]:
        """The time of each of ``passes`` passes."""


def take_turns(timed: Sequence[Timed], rounds: int, passes: int) -> list[list[float]]:
    """For each of ``timed`` the median time of a pass in each of ``rounds`` turns, all of them in turn."""
    times: list[list[float]] = [[] for _ in timed]
    for _ in range(rounds):
        for own, one in zip(times, timed, strict=True):
            own.append(median(one.seconds(passes)))
    return times


@dataclass(frozen=True)
class Place:
    """A contestant of its own, and where it is set: ``workers`` sequences behind ``context`` tokens."""

    who: Contestant
    context: int
    workers: int


def time_places(places: Sequence[Place], rounds: int, passes: int) -> list[list[float]]:
    """`take_turns` of contestants, each at its place."""
    try:
        for place in places:
            place.who.prepare(place.context, place.workers)
            place.who.seconds(2)  # kernels are compiled, weights are read
        return take_turns([place.who for place in places], rounds, passes)
    finally:
        for place in places:
            place.who.release()
