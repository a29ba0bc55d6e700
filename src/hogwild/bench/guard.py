"""Ratios that do not depend on how fast a machine is, and whether they have become worse than they were.

All are of pairs that run in turn, in one process, and higher is better:

- ``workers``: total tokens/s of 4 workers over that of 1, at 1,024 tokens;
- ``context``: passes/s of 4 workers at 4,096 tokens over those at 512: what attention takes of a pass;
- ``sharing``: 4 workers on one context of 4,096 tokens over 4 sequences with a copy of it each;
- ``transformers``: tokens/s of 4 workers over those of transformers' generate, at 1,024 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hogwild.bench.contestants import Separate, Team
from hogwild.bench.peers import TransformersPeer
from hogwild.bench.spread import Spread, ratios
from hogwild.bench.turns import Place, time_places
from hogwild.bench.workload import prefill
from hogwild.engine import Engine
from hogwild.models.load import load_model

ALLOWED = 0.2
"""A ratio may be worse by this share of what it was."""

Report = Callable[[str], None]


def verdict(measured: Mapping[str, float], baseline: Mapping[str, float], allowed: float = ALLOWED) -> list[str]:
    """What has become worse, a line each; empty when all is well. A ratio that was not measured is worse, too."""
    problems = [f"{name}: not measured, it was {was:.2f}" for name, was in baseline.items() if name not in measured]
    for name, now in measured.items():
        if name not in baseline:
            problems.append(f"{name}: {now:.2f}, and there is no figure to compare it with: write a baseline")
        elif not now >= baseline[name] * (1 - allowed):  # so that NaN fails
            problems.append(f"{name}: {now:.2f}, more than {allowed:.0%} below {baseline[name]:.2f}")
    return problems


def measure(engine: Engine, model: str, rounds: int, passes: int, report: Report, seed: int = 0) -> dict[str, Spread]:
    """All ratios on ``engine``, which ``model`` was loaded into, each over so many rounds."""
    found = {}
    for name, (upper, lower) in _pairs(engine, model, seed):
        times = time_places([upper, lower], rounds, passes)
        rates = ([place.workers / time for time in own] for place, own in zip((upper, lower), times, strict=True))
        found[name] = ratios(*rates)
        report(f"{name}: {found[name].median:.2f} ({found[name].p10:.2f} to {found[name].p90:.2f})")
    return found


def _pairs(engine: Engine, model: str, seed: int) -> Iterator[tuple[str, tuple[Place, Place]]]:
    source = prefill(engine, 256, seed)

    def team(context: int, workers: int) -> Place:
        return Place(Team("team", engine, source, seed), context, workers)

    yield "workers", (team(1024, 4), team(1024, 1))
    yield "context", (team(4096, 4), team(512, 4))
    yield "sharing", (team(4096, 4), Place(Separate("separate", engine, source, seed), 4096, 4))
    peer = TransformersPeer(load_model(model, dtype=engine.dtype).model, seed)
    yield "transformers", (team(1024, 4), Place(peer, 1024, 4))
