"""``hogwild bench``: what a pass costs here, and what others take for the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hogwild.cli import options as opt
from hogwild.cli import text
from hogwild.cli.loading import loading
from hogwild.cli.request import check_writable, parse_bytes, split_list
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
    process measures just before, reading with all its threads.
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
            named = replace(setting, dtype=setting.dtype or str(engine.dtype).removeprefix("torch."))
            figures += bench_passes(engine, str(named), options, report)
            del engine
    title = f"{model}: passes, {rounds} rounds of {passes}, seed {seed}"
    tables = [reports.pass_table(figures, title)]
    if profile:
        tables.append(reports.profile_table(figures, "Where a pass goes, ms"))
    as_json = reports.pass_json(machine, model, options, figures)
    finish(tables, str(machine), as_json, targets, json)


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
        out = Console()
        if not out.is_terminal:
            out.width = 250  # so that a row is a line
        for table in tables:
            out.print(_drawn(table))
        out.print(Text(machine, style="dim"), soft_wrap=True)
    for path in targets:
        markdown = "\n".join([*(table.markdown() for table in tables), machine, ""])
        path.write_text(as_json + "\n" if path.suffix == ".json" else markdown)


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 else "right")
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn
