"""``hogwild bench``: what a pass costs here, and what others take for the same work."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from hogwild.cli import options as opt
from hogwild.cli import text
from hogwild.cli.loading import loading
from hogwild.cli.needs import need
from hogwild.cli.request import check_writable, parse_bytes, split_list
from hogwild.cli.tables import show
from hogwild.errors import OptionError

if TYPE_CHECKING:
    from hogwild.bench.report import Table
    from hogwild.bench.settings import Setting

app = typer.Typer(no_args_is_help=False)

Workers = Annotated[str, typer.Option("--workers", "-w", metavar="N,N,..", help="How many workers.")]
Contexts = Annotated[str, typer.Option("--context", "-c", metavar="N,N,..", help="Tokens of shared context.")]
Dtypes = Annotated[
    str | None,
    typer.Option("--dtype", metavar="A,B,..", help="Of weights and cache.", show_default="the model's own"),
]
Quantize = Annotated[str, typer.Option("--quantize", metavar="A,B,..", help="Weights: none, int8, int4.")]
KvDtypes = Annotated[
    str | None, typer.Option("--kv-dtype", metavar="A,B,..", help="Of the cache: int8.", show_default="as the weights")
]
Attention = Annotated[
    str | None,
    typer.Option(
        "--attention", metavar="A,B,..", help="Attention functions, by name.", show_default="the fastest here"
    ),
]
Rounds = Annotated[int, typer.Option(metavar="N", help="How often everything takes its turn.")]
Passes = Annotated[int, typer.Option(metavar="N", help="Passes in a turn.")]
Prefill = Annotated[int, typer.Option(metavar="N", help="Tokens whose prefill is timed; contexts are made of them.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the random tokens.")]
Profile = Annotated[bool, typer.Option("--profile", metavar="", help="Also tell where a pass goes.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]
Save = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Also write it there, in the form of its ending: .json or .md. Repeat for more."),
]
SavePlot = Annotated[
    list[Path] | None,
    typer.Option("--save", metavar="FILE", help="Also write it there: .json, .md, .svg or .png. Repeat for more."),
]
Baselines = Annotated[str, typer.Option(metavar="A,B,..", help="Other ways on our engine: separate, copied, or none.")]
Peers = Annotated[str, typer.Option(metavar="A,B,..", help="transformers, llama.cpp, vllm, or none.")]
Url = Annotated[
    str | None, typer.Option(metavar="URL", help="A server that runs already.", show_default="one of its own")
]
Rate = Annotated[float, typer.Option(metavar="X", help="Requests a second, on average.")]
Seconds = Annotated[float, typer.Option(metavar="SECONDS", help="For how long requests arrive.")]
Teams = Annotated[float, typer.Option(metavar="0..1", help="The share of requests that ask for a team.")]
TeamWorkers = Annotated[int, typer.Option("--workers", "-w", metavar="N", help="Of a team.")]
Tokens = Annotated[int, typer.Option(metavar="N", help="Passes of a request: tokens of each worker.")]
Words = Annotated[int, typer.Option(metavar="N", help="Of a prompt; no two are alike.")]
GoodFirst = Annotated[float, typer.Option(metavar="SECONDS", help="A good answer's first token comes within.")]
GoodToken = Annotated[float, typer.Option(metavar="SECONDS", help="A good answer's other tokens take, on average.")]
ServerOption = Annotated[
    list[str] | None,
    typer.Option(metavar="FLAG", help="For the server of its own, like --server-option=--kv-memory=2GB; repeat."),
]
BenchKey = Annotated[
    str | None, typer.Option("--api-key", metavar="KEY", help="Of that server.", envvar="HOGWILD_API_KEY")
]
Gguf = Annotated[Path | None, typer.Option(metavar="FILE", help="The model for llama.cpp.")]


@app.callback(invoke_without_command=True)
def bench(context: typer.Context) -> None:
    """Time passes, or compare with others."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("pass")
def pass_(
    model: opt.Model = opt.DEFAULT_MODEL,
    workers: Workers = "1,2,4,8",
    context: Contexts = "128,1024,4096",
    dtype: Dtypes = None,
    quantize: Quantize = "none",
    kv_dtype: KvDtypes = None,
    attention: Attention = None,
    device: opt.Device = "cpu",
    kv_memory: opt.KvMemory = None,
    rounds: Rounds = 5,
    passes: Passes = 4,
    prefill: Prefill = 512,
    seed: Seed = 0,
    profile: Profile = False,
    json: Json = False,
    save: Save = None,
) -> None:
    """Time passes of some workers at some contexts, and tell how near they are to the memory's limit.

    The limit: the bytes of all weights and of the cached keys and values, each read once, over the bandwidth that this
    process measures before each round, reading with all its threads.
    """
    targets = checked_targets(save, (".json", ".md"))
    memory = parse_bytes("--kv-memory", kv_memory) if kv_memory else None
    settings = parse_settings(dtype, quantize, kv_dtype, attention)
    contexts, counts = numbers("--context", context), numbers("--workers", workers)
    with reporting() as report, loading(model) as progress:
        from hogwild.bench import report as reports
        from hogwild.bench.machine import Machine
        from hogwild.bench.passes import PassFigure, PassOptions, bench_passes

        options = PassOptions(counts, contexts, rounds, passes, prefill, profile, seed)
        figures, machine = list[PassFigure](), Machine.here(device)
        for setting in settings:
            report(f"{setting}: loading {model}")
            engine = setting.load(model, device=device, kv_memory=memory, progress=progress)
            figures += bench_passes(engine, str(setting.named(engine)), options, report)
            del engine
    title = f"{model}: passes, {rounds} rounds of {passes}, seed {seed}"
    tables = [reports.pass_table(figures, title)]
    if profile:
        tables.append(reports.profile_table(figures, "Where a pass goes, ms"))
    as_json = reports.pass_json(machine, model, options, figures)
    finish(tables, str(machine), as_json, targets, json)


@app.command("compare")
def compare_(
    model: opt.Model = opt.DEFAULT_MODEL,
    workers: Workers = "4",
    context: Contexts = "1024",
    dtype: Dtypes = None,
    quantize: Quantize = "none",
    kv_dtype: KvDtypes = None,
    attention: Attention = None,
    baselines: Baselines = "separate,copied",
    peers: Peers = "transformers,llama.cpp,vllm",
    gguf: Gguf = None,
    rounds: Rounds = 5,
    passes: Passes = 4,
    seed: Seed = 0,
    json: Json = False,
    save: SavePlot = None,
) -> None:
    """Let our engine, other ways on it and other programs do the same work in turn.

    Everyone is in memory at the same time, and each round lets each do some passes: so the ratios are of pairs that
    ran right after each other. ``separate`` gives each worker a copy of the context; ``copied`` turns and copies all
    keys for each worker in each layer and pass, the way the method was first published.
    """
    targets = checked_targets(save, (".json", ".md", ".svg", ".png"))
    settings = parse_settings(dtype, quantize, kv_dtype, attention)
    contexts, counts = numbers("--context", context), numbers("--workers", workers)
    from hogwild.bench import report as reports
    from hogwild.bench.compare import LineUp, compare
    from hogwild.bench.machine import Machine
    from hogwild.bench.plot import draw, plot_needs

    plot_needs(targets)
    chosen = LineUp(model, tuple(settings), some("--baselines", baselines), some("--peers", peers), gguf, seed)
    with reporting() as report:
        machine = Machine.here()
        contestants = chosen.load(report)
        standings = list(compare(contestants, contexts, counts, rounds, passes, report))
    title = f"{model}: the same work, {rounds} rounds of {passes} passes, seed {seed}"
    as_json = reports.compare_json(machine, model, standings)
    tables = [reports.compare_table(standings, title), reports.notes_table(standings)]
    finish(tables, str(machine), as_json, targets, json)
    for path in targets:
        if path.suffix in (".svg", ".png"):
            draw(standings, title, str(machine), path)


@app.command("serve")
def serve_(
    model: opt.Model = opt.DEFAULT_MODEL,
    url: Url = None,
    api_key: BenchKey = None,
    rate: Rate = 1.0,
    seconds: Seconds = 30.0,
    teams: Teams = 0.5,
    workers: TeamWorkers = 2,
    tokens: Tokens = 32,
    words: Words = 24,
    good_first: GoodFirst = 2.0,
    good_token: GoodToken = 0.25,
    seed: Seed = 0,
    server_option: ServerOption = None,
    json: Json = False,
    save: Save = None,
) -> None:
    """Offer load to a server on loopback: requests arrive by chance, and do not wait for each other.

    Times count from when a request was due, so that a server that falls behind cannot hide it. An answer is good when
    its first token and the ones after it come fast enough.
    """
    targets = checked_targets(save, (".json", ".md"))
    need("hogwild bench serve", "fastapi", "httpx2", "prometheus_client", "uvicorn")
    from hogwild.bench.load import Limits, Load
    from hogwild.bench.machine import Machine
    from hogwild.bench.serve import bench_serve, serve_table, started

    load = Load(rate, seconds, teams, workers, tokens, words, seed)
    limits = Limits(good_first, good_token)
    with reporting() as report:
        machine = Machine.here()
        if url:
            result = bench_serve(url, model, load, limits, api_key, report)
        else:
            with started(model, server_option or ()) as server:
                result = bench_serve(server.url, server.model, load, limits, None, report)
    as_json = jsonlib.dumps({"machine": asdict(machine), **result}, indent=2)
    finish([serve_table(result)], str(machine), as_json, targets, json)


def some(option: str, given: str) -> tuple[str, ...]:
    """A list of names, or nothing for ``none``."""
    return () if given.strip() == "none" else split_list(option, given)


def parse_settings(dtype: str | None, quantize: str, kv_dtype: str | None, attention: str | None) -> list[Setting]:
    """The engines to be timed. Importing them loads torch, so only now."""
    from hogwild.bench.settings import combinations

    def values(option: str, given: str | None) -> Sequence[str | None]:
        return split_list(option, given) if given else (None,)

    return list(
        combinations(
            values("--dtype", dtype),
            split_list("--quantize", quantize),
            values("--kv-dtype", kv_dtype),
            values("--attention", attention),
        )
    )


def numbers(option: str, given: str) -> tuple[int, ...]:
    """Whole numbers from ``1,2,4``."""
    try:
        return tuple(int(part) for part in split_list(option, given))
    except ValueError as error:
        raise OptionError(f"{option}={given!r} is not possible: give whole numbers, like 1,2,4") from error


def checked_targets(save: Sequence[Path] | None, endings: Sequence[str]) -> list[Path]:
    """The files to write, refused before the work if they cannot be."""
    for path in save or ():
        if path.suffix not in endings:
            raise OptionError(f"--save={path} is not possible: give a name that ends in {' or '.join(endings)}")
        check_writable("--save", path)
    return list(save or ())


@contextmanager
def reporting() -> Iterator[Callable[[str], None]]:
    """Yield what takes a line on the progress of the work, for standard error."""
    console = Console(stderr=True)
    yield lambda line: console.print(Text(text.one_line(line), style="dim"), soft_wrap=True)


def finish(tables: Sequence[Table], machine: str, as_json: str, targets: Sequence[Path], json: bool) -> None:
    """Print the result, and write it to the files that were asked for."""
    if json:
        typer.echo(as_json)
    else:
        show(tables, machine)
    for path in targets:
        if path.suffix not in (".json", ".md"):
            continue
        markdown = "\n".join([*(table.markdown() for table in tables), machine, ""])
        path.write_text(as_json + "\n" if path.suffix == ".json" else markdown)
