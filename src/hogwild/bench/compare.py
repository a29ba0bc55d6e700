"""The same work by several, in turn, in one run; ratios pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hogwild.bench.contestants import Contestant, Copied, Separate, Team
from hogwild.bench.peers import PEERS, Absent, find_peer
from hogwild.bench.settings import Setting
from hogwild.bench.spread import Spread, ratios
from hogwild.bench.workload import prefill
from hogwild.errors import HogwildError, OptionError

Report = Callable[[str], None]

SOURCE_TOKENS = 256
"""Tokens that our contexts are made of."""

BASELINES: dict[str, type[Team]] = {"separate": Separate, "copied": Copied}
"""Other ways of doing the same on our engine."""


@dataclass(frozen=True)
class Standing:
    """What one did at one context with so many sequences. ``rates``: total tokens a second, one for each round."""

    name: str
    note: str
    workers: int
    context: int
    seconds: Spread  # a pass
    rates: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float:
        """Of all sequences together."""
        return self.workers / self.seconds.median

    def over(self, other: Standing) -> Spread:
        """How many times as fast as ``other`` this is, round by round. Both took part in the same rounds."""
        if (self.workers, self.context) != (other.workers, other.context):
            raise OptionError(f"{self.name} and {other.name} were not timed in the same rounds")
        return ratios(self.rates, other.rates)


@dataclass(frozen=True)
class LineUp:
    """Who is asked for. The baselines run on the engine of the first setting, and so does the peers' ``dtype``."""

    model: str
    settings: tuple[Setting, ...]
    baselines: tuple[str, ...] = tuple(BASELINES)
    peers: tuple[str, ...] = PEERS
    gguf: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.baselines:
            if name not in BASELINES:
                raise OptionError(f"baseline {name!r} is unknown: give some of {', '.join(BASELINES)}")

    def load(self, report: Report) -> list[Contestant]:
        """Everyone that is here; a line for each that is not."""
        found = list[Contestant]()
        for number, setting in enumerate(self.settings):
            report(f"loading {self.model}, {setting}")
            engine = setting.load(self.model)
            source = prefill(engine, min(SOURCE_TOKENS, engine.max_positions), self.seed)
            found.append(Team(f"hogwild {setting.named(engine)}", engine, source, self.seed))
            if number == 0:
                found += [BASELINES[name](name, engine, source, self.seed) for name in self.baselines]
        for name in self.peers:
            report(f"loading {name}")
            peer = find_peer(name, self.model, self.settings[0].dtype, self.gguf, self.seed)
            if isinstance(peer, Absent):
                report(peer.reason)
            else:
                found.append(peer)
        return found


def compare(
    contestants: Sequence[Contestant],
    contexts: Sequence[int],
    workers: Sequence[int],
    rounds: int,
    passes: int,
    report: Report,
) -> Iterator[Standing]:
    """Time every contestant at every context with every number of sequences, ``rounds`` times ``passes`` in turn."""
    for context in contexts:
        for count in workers:
            yield from _meet(contestants, context, count, rounds, passes, report)


def _meet(
    contestants: Sequence[Contestant], context: int, workers: int, rounds: int, passes: int, report: Report
) -> Iterator[Standing]:
    where = f"context {context:,}, {workers} workers"
    ready = list[Contestant]()
    times: dict[str, list[list[float]]] = {}
    try:
        for one in contestants:
            report(f"{where}: {one.name} gets ready")
            try:
                one.prepare(context, workers)
                one.seconds(1)  # kernels are compiled, weights are read
            except HogwildError as error:
                report(f"{where}: {one.name} is left out: {error}")
                continue
            ready.append(one)
            times[one.name] = []
        for number in range(rounds):
            report(f"{where}: round {number + 1} of {rounds}")
            for one in ready:
                times[one.name].append(one.seconds(passes))
    finally:
        for one in contestants:
            one.release()
    for one in ready:
        turns = times[one.name]
        every = Spread.of([seconds for turn in turns for seconds in turn])
        yield Standing(one.name, one.note, workers, context, every, tuple(workers / median(turn) for turn in turns))
