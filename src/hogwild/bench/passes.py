"""What a pass costs: the time of passes of so many workers at such a context, and how near that is to the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from hogwild.bench.limit import Reads, pass_reads
from hogwild.bench.machine import peak_memory, read_bandwidth, reset_peak
from hogwild.bench.profile import Part, profile
from hogwild.bench.spread import Spread, ratios
from hogwild.bench.workload import Prefilled, Workload, check_room, grow, prefill
from hogwild.engine import Engine
from hogwild.errors import CacheFull, OptionError, WindowError

WARM_PASSES = 2

Report = Callable[[str], None]
"""Called with one line for a person: what is being done."""


@dataclass(frozen=True)
class PassOptions:
    """What is timed: each number of ``workers`` at each ``context``, ``rounds`` times ``passes`` in turn.

    ``prefill`` tokens go through the model for real. Raises `OptionError` for what is below 1.
    """

    workers: tuple[int, ...] = (1, 2, 4, 8)
    contexts: tuple[int, ...] = (128, 1024, 4096, 16384)
    rounds: int = 5
    passes: int = 4
    prefill: int = 512
    profile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("workers", "contexts", "rounds", "passes", "prefill"):
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if not values or min(values) < 1:
                raise OptionError(f"{name} is {value}: give whole numbers above 0")


@dataclass(frozen=True)
class PassFigure:
    """One line of the result. Times in seconds, sizes in bytes, ``bandwidth`` in bytes a second: its median.

    ``speedup`` is the tokens/s of all workers over that of the smallest team at this context, round by round; ``share``
    the limit over the time of a pass, 1 being as fast as the memory, with the bandwidth of each round.
    """

    setting: str  # what the engine was loaded with
    workers: int
    context: int
    seconds: Spread
    speedup: Spread
    share: Spread
    prefill_rate: float
    peak_memory: int
    reads: Reads
    bandwidth: float
    parts: tuple[Part, ...] = field(default=())

    @property
    def limit(self) -> float:
        """The seconds that reading all weights and the cache once takes."""
        return self.reads.seconds(self.bandwidth)

    @property
    def tokens_per_second(self) -> float:
        """Of all workers together; of each it is one token a pass."""
        return self.workers / self.seconds.median


def bench_passes(engine: Engine, setting: str, options: PassOptions, report: Report) -> Iterator[PassFigure]:
    """Time every combination; what does not fit is reported in one line and left out."""
    report(f"{setting}: prefilling {options.prefill} tokens")
    source = prefill(engine, min(options.prefill, engine.max_positions), options.seed)
    for context in sorted(options.contexts):
        report(f"{setting}: context {context:,}")
        yield from _at_context(engine, setting, options, context, source, report)


def _at_context(
    engine: Engine, setting: str, options: PassOptions, context: int, source: Prefilled, report: Report
) -> Iterator[PassFigure]:
    common, loads = engine.block(), dict[int, Workload]()
    try:
        for workers in sorted(options.workers):
            try:
                check_room(engine, context, workers, max(options.passes, WARM_PASSES))
                grow(common, source.block, context)
                loads[workers] = Workload(engine, [common], workers, options.seed)
            except (CacheFull, WindowError) as error:
                report(f"{setting}: context {context:,} from {workers} workers on is left out: {error}")
                break
        if loads:
            yield from _measure(engine, setting, options, context, source, loads)
    finally:
        for load in loads.values():
            load.free()
        common.free()


def _measure(
    engine: Engine, setting: str, options: PassOptions, context: int, source: Prefilled, loads: dict[int, Workload]
) -> Iterator[PassFigure]:
    bandwidths = list[float]()  # of each round, as that of a shared machine changes by the minute
    times: dict[int, list[list[float]]] = {workers: [] for workers in loads}
    peaks = dict.fromkeys(loads, 0)
    for load in loads.values():
        load.seconds(WARM_PASSES)  # kernels are compiled for new shapes
    for _ in range(options.rounds):
        bandwidths.append(read_bandwidth(engine.device))
        for workers, load in loads.items():
            reset_peak(engine.device)
            times[workers].append(load.seconds(options.passes))
            peaks[workers] = max(peaks[workers], peak_memory(engine.device))
    middles = {workers: [median(turn) for turn in turns] for workers, turns in times.items()}
    rates = {workers: [workers / middle for middle in turns] for workers, turns in middles.items()}
    for workers, load in loads.items():
        reads = pass_reads(engine, load.rows)
        yield PassFigure(
            setting=setting,
            workers=workers,
            context=context,
            seconds=Spread.of([seconds for turn in times[workers] for seconds in turn]),
            speedup=ratios(rates[workers], rates[min(loads)]),
            share=ratios([reads.seconds(bandwidth) for bandwidth in bandwidths], middles[workers]),
            prefill_rate=source.rate,
            peak_memory=peaks[workers],
            reads=reads,
            bandwidth=median(bandwidths),
            parts=profile(load, options.passes) if options.profile else (),
        )
