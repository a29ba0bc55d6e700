"""Problems that are generated: by random numbers that a seed gives again, with a quarter of all kept aside."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict
from random import Random

from hogwild.errors import OptionError
from hogwild.eval.problem import Loaded, Problem, Source

COUNT = 200
"""Problems, where no limit is given."""

Make = Callable[[str, Random], Problem]
"""Makes the problem of this id from random numbers."""


def draw_problems(kind: str, make: Make, source: Source) -> Loaded:
    """The problems of a source, their ids led by ``kind``; the checksum changes when what is generated does.

    Raises `OptionError` for all of them: there is no end to them.
    """
    if source.whole:
        raise OptionError(f"{kind} is generated and has no end: leave --whole out")
    stream = f"{kind}/{'kept' if source.kept else 'seed'}-{source.seed}"
    number = COUNT if source.limit is None else source.limit
    problems = [_draw(f"{stream}/{place}", make, source.kept) for place in range(number)]
    as_json = json.dumps([asdict(problem) for problem in problems], sort_keys=True)
    return Loaded(problems, "generated", hashlib.sha256(as_json.encode()).hexdigest())


def _draw(name: str, make: Make, kept: bool) -> Problem:
    """A problem drawn by random numbers that ``name`` seeds.

    A checksum of its text says whether it is one of those kept aside, a quarter of all, whatever the seed; the first
    one that fits is taken.
    """
    rng = Random(name)
    while True:
        problem = make(name, rng)
        told = "\n".join([problem.question, *problem.private])
        if (zlib.crc32(told.encode()) % 4 == 0) == kept:
            return problem
