"""The project's bars (docs/benchmarks.md): each section measures some of them, and says what it did in tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from hogwild.bench.compare import LineUp, Standing, compare
from hogwild.bench.contestants import Team
from hogwild.bench.llama import LlamaPeer
from hogwild.bench.passes import PassFigure, PassOptions, bench_passes
from hogwild.bench.perplexity import engine_logits, perplexity, reference_tokens
from hogwild.bench.report import Table, compare_table, pass_table, profile_table, spread
from hogwild.bench.settings import Setting
from hogwild.bench.spread import Spread, ratios
from hogwild.bench.turns import Place, take_turns, time_places
from hogwild.bench.workload import prefill, random_tokens
from hogwild.engine import Engine, Row
from hogwild.models.load import load_model

Report = Callable[[str], None]
SEED = 0


@dataclass(frozen=True)
class Models:
    """What the bars are measured on: a folder, packaged name or hub id each, and the first one's GGUF file."""

    large: str  # Qwen2.5-Coder-1.5B
    small: str  # SmolLM2-135M
    gguf: Path  # of the large one, Q4_K_M


@dataclass(frozen=True)
class Bar:
    """A bar of the project: ``value`` must be ``at least`` or ``at most`` what is ``wanted``."""

    number: int
    what: str
    value: float
    wanted: float
    bound: Literal["at least", "at most"] = "at least"

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.value >= self.wanted if self.bound == "at least" else self.value <= self.wanted


@dataclass(frozen=True)
class Section:
    """What one part of the benchmarks found."""

    bars: tuple[Bar, ...]
    tables: tuple[Table, ...]
    standings: tuple[Standing, ...] = field(default=())


def limit(models: Models, report: Report) -> Section:
    """Bar 1: how near a pass is to the memory's limit, and what more workers gain."""
    shares = {"none": 0.60, "int8": 0.60, "int4": 0.60}
    gains = {("none", 4): 3.3, ("int8", 4): 2.8, ("int4", 4): 2.3, ("none", 8): 5.5}
    figures, bars = list[PassFigure](), list[Bar]()
    for quantize, share in shares.items():
        report(f"loading {models.large}, {quantize}")
        setting = Setting(quantize=quantize)
        engine = setting.load(models.large)
        named = str(setting.named(engine))
        workers = tuple(count for weights, count in gains if weights == quantize)
        options = PassOptions((1, *workers), (1024,), rounds=9, passes=3, prefill=256, profile=True, seed=SEED)
        own = {figure.workers: figure for figure in bench_passes(engine, named, options, report)}
        del engine
        figures += own.values()
        bars.append(Bar(1, f"{named}, one worker: share of the limit", own[1].share.median, share))
        bars += [
            Bar(1, f"{named}: tokens/s of {count} workers over 1", own[count].speedup.median, gains[quantize, count])
            for count in workers
        ]
    tables = (
        pass_table(figures, f"{_short(models.large)}: passes at 1,024 tokens, 9 rounds of 3 in turn"),
        profile_table(figures, "Where a pass goes, ms; attention without what it calls rotation"),
    )
    return Section(tuple(bars), tables)


def others_large(models: Models, report: Report) -> Section:
    """Bars 2 and 3 on the large model."""
    return _others(models.large, (1024, 4096, 8192), {1024: 3.5, 8192: 8.0}, 3, report)


def others_small(models: Models, report: Report) -> Section:
    """Bars 2 and 3 on the small model."""
    return _others(models.small, (1024, 4096), {1024: 4.0, 4096: 10.0}, 5, report)


def _others(model: str, contexts: Sequence[int], wanted: dict[int, float], rounds: int, report: Report) -> Section:
    chosen = LineUp(model, (Setting(),), peers=("transformers",), seed=SEED)
    standings = list(compare(chosen.load(report), contexts, (4,), rounds, 2, report))
    at = {(one.name.split()[0], one.context): one for one in standings}
    name = _short(model)
    bars = [
        Bar(2, f"{name}, 4 workers at {n:,}: over transformers", _over(at, "transformers", n).median, least)
        for n, least in wanted.items()
    ]
    bars.append(Bar(3, f"{name}, 4 workers at 4,096: over copied keys", _over(at, "copied", 4096).median, 5.0))
    title = f"{name}: the same work in turn, {rounds} rounds of 2 passes"
    return Section(tuple(bars), (compare_table(standings, title),), tuple(standings))


def _over(at: dict[tuple[str, int], Standing], name: str, context: int) -> Spread:
    return at["hogwild", context].over(at[name, context])


def contexts(models: Models, report: Report) -> Section:
    """Bar 4: what a longer context and more workers cost."""
    report(f"loading {models.large}")
    engine = Engine.load(models.large)
    source = prefill(engine, 256, SEED)
    bars, rows = list[Bar](), list[tuple[str, ...]]()
    for upper, lower, most in (((4, 16384), (4, 1024), 2.0), ((8, 8192), (1, 8192), 1.6)):
        report(f"{upper[0]} workers at {upper[1]:,} against {lower[0]} at {lower[1]:,}")
        places = [Place(Team("team", engine, source, SEED), context, count) for count, context in (upper, lower)]
        times = time_places(places, 9, 3)
        ratio = ratios(*times)
        what = f"pass of {upper[0]} workers at {upper[1]:,} over that of {lower[0]} at {lower[1]:,}"
        bars.append(Bar(4, what, ratio.median, most, "at most"))
        rows.append((what, *(spread(Spread.of(own), 1e3) for own in times), spread(ratio, digits=2)))
    columns = ("what", "ms (p10–p90)", "ms of the other", "ratio")
    return Section(tuple(bars), (Table(f"{_short(models.large)}: 9 rounds of 3 passes in turn", columns, tuple(rows)),))


def llama(models: Models, report: Report) -> Section:
    """Bar 5: against llama.cpp at 4 bits, with the perplexities of both."""
    chosen = LineUp(models.large, (Setting(quantize="int4"),), (), ("llama.cpp",), models.gguf, SEED)
    found = chosen.load(report)
    if len(found) < 2:
        return Section((), (Table("llama.cpp is not installed, or its GGUF file is not there", ("",), ()),))
    standings = list(compare(found, (1024,), (1, 4), 7, 3, report))
    rates = {one.workers: one.over(other) for one, other in zip(standings[::2], standings[1::2], strict=True)}
    team, peer = found
    assert isinstance(team, Team)
    assert isinstance(peer, LlamaPeer)
    tokens = reference_tokens(team.engine.tokenizer, 2048)
    report("perplexity of ours")
    ours = perplexity(engine_logits(team.engine), tokens)
    report("perplexity of llama.cpp")
    theirs = perplexity(lambda part: torch.from_numpy(peer.logits(part)), tokens)
    bars = (
        Bar(5, "int4, 1 sequence: over llama.cpp", rates[1].median, 1.0),
        Bar(5, "int4, 4 sequences: over llama.cpp", rates[4].median, 2.0),
        Bar(5, "int4: perplexity over that of llama.cpp", ours / theirs, 1.03, "at most"),
    )
    read = Table(
        "Perplexity on 2,048 tokens of Python's documentation (pydoc_data.topics), windows of 512",
        ("who", "perplexity"),
        ((team.name, f"{ours:.3f}"), (peer.name, f"{theirs:.3f}")),
    )
    title = f"{_short(models.large)}: against llama.cpp, 7 rounds of 3 passes in turn"
    return Section(bars, (compare_table(standings, title), read), tuple(standings))


def prompts(models: Models, report: Report) -> Section:
    """Bar 6: how fast prompts are read, and what it costs when teams share one."""
    bars, rows = list[Bar](), list[tuple[str, ...]]()
    for model, rounds in ((models.small, 4), (models.large, 2)):
        report(f"loading {model}, twice")
        engine = Engine.load(model)
        ours, theirs = _OurPrompt(engine, 2048), _TheirPrompt(load_model(model, dtype=engine.dtype).model, 2048)
        for one in (ours, theirs):
            one.seconds(1, tokens=256)
        report(f"{_short(model)}: prefill of 2,048 tokens, {rounds} rounds")
        times = take_turns([ours, theirs], rounds, 1)
        rates = [Spread.of([2048 / second for second in own]) for own in times]
        ratio = ratios(times[1], times[0])
        bars.append(Bar(6, f"{_short(model)}: prefill of 2,048 tokens over transformers", ratio.median, 1.05))
        rows.append((_short(model), *(spread(rate) for rate in rates), spread(ratio, digits=2)))
        if model == models.small:
            bars.append(_shared_prompt(engine, report))
        del engine, ours, theirs
    columns = ("model", "ours, tokens/s (p10–p90)", "transformers", "ratio")
    return Section(tuple(bars), (Table("Prefill of 2,048 tokens, in turn", columns, tuple(rows)),))


def _shared_prompt(engine: Engine, report: Report) -> Bar:
    report("8 teams with the same prompt of 4,000 tokens")
    tokens, done = random_tokens(engine, 4000, SEED + 1), list[float]()
    start = time.perf_counter()
    for team in range(8):
        engine.forward([Row([engine.prompt(tokens), engine.block()], [team])])
        done.append(time.perf_counter() - start)
    return Bar(6, "first tokens of 8 teams with the same 4,000 over that of one", done[-1] / done[0], 1.5, "at most")


class _OurPrompt:
    def __init__(self, engine: Engine, length: int) -> None:
        self.engine, self.length = engine, length

    def seconds(self, passes: int, tokens: int | None = None) -> list[float]:
        ids, found = random_tokens(self.engine, tokens or self.length, SEED), []
        for _ in range(passes):
            start = time.perf_counter()
            block = self.engine.block()
            self.engine.prefill([block], ids)
            found.append(time.perf_counter() - start)
            block.free()
        return found


class _TheirPrompt:
    def __init__(self, model: PreTrainedModel, length: int) -> None:
        self.model, self.length = model, length
        model.set_attn_implementation("sdpa")

    @torch.inference_mode()
    def seconds(self, passes: int, tokens: int | None = None) -> list[float]:
        generator = torch.Generator().manual_seed(SEED)
        vocabulary = self.model.config.get_text_config().vocab_size
        ids, found = torch.randint(vocabulary, (1, tokens or self.length), generator=generator), []
        for _ in range(passes):
            start = time.perf_counter()
            self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            found.append(time.perf_counter() - start)
        return found


def load(models: Models, report: Report) -> Section:
    """Bar 7: how long the small model takes to load from a warm disk, all checks included."""
    report(f"loading {models.small}, three times")
    found = []
    for _ in range(3):
        start = time.perf_counter()
        Engine.load(models.small)
        found.append(time.perf_counter() - start)
    return Section(
        (Bar(7, f"{_short(models.small)}: seconds to load", Spread.of(found[1:]).median, 15.0, "at most"),), ()
    )


SECTIONS: dict[str, Callable[[Models, Report], Section]] = {
    "limit": limit,
    "contexts": contexts,
    "others-small": others_small,
    "others-large": others_large,
    "llama.cpp": llama,
    "prompts": prompts,
    "load": load,
}
"""In the order in which they run; about 15 minutes in all on two cores."""


def _short(model: str) -> str:
    return Path(model).name
