"""``hogwild check gpu``: what a user runs first on a card. Is every path exact there, and how fast is it?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hogwild.cli.bench import Json, Save, checked_targets, finish, reporting
from hogwild.cli.loading import loading
from hogwild.errors import OptionError

if TYPE_CHECKING:
    import torch

    from hogwild.bench.exactness import Outcome
    from hogwild.bench.report import Table

app = typer.Typer(no_args_is_help=False)

Device = Annotated[str, typer.Option(metavar="DEVICE", help="The card, or cpu for a few checks in an interpreter.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="Also check and time it.", show_default=False),
]
NoModel = Annotated[bool, typer.Option("--no-model", metavar="", help="Only check attention, with no model.")]
FAILED = 1
CONTEXTS, WORKERS = (1024, 4096), (1, 4)
TIMED, SHAPE = "a random model of 1.5 billion weights", "1.5b"


@app.callback(invoke_without_command=True)
def check(context: typer.Context) -> None:
    """Check that everything is exact on this machine's GPU."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("gpu")
def gpu(
    device: Device = "cuda",
    model: Model = None,
    no_model: NoModel = False,
    json: Json = False,
    save: Save = None,
) -> None:
    """Compare every attention path with its definition, for each dtype, head size and feature; then check and time
    models with random weights, for which nothing is downloaded; --model adds a real one.

    What it prints can be pasted into an issue. The exit code is 1 if anything differs by more than rounding.
    With --device cpu a few of the comparisons run on the CPU, the Triton kernels in their interpreter.
    """
    targets = checked_targets(save, (".json", ".md"))
    if device == "cpu":
        os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton asks for it when it is imported
    where = _device(device)
    if model is not None and where.type != "cuda":
        raise OptionError("--model needs a GPU: without one, only attention is checked")
    from hogwild.bench.exactness import check_attention, check_models
    from hogwild.bench.machine import Machine

    outcomes, tables = list["Outcome"](), list["Table"]()
    with reporting() as report:
        for outcome in check_attention(where, short=where.type != "cuda"):
            report(f"{outcome.path} {outcome.dtype} {outcome.heads} {outcome.case}: {outcome.verdict}")
            outcomes.append(outcome)
    if where.type == "cuda" and not no_model:
        with reporting() as report:
            for outcome in check_models(where):
                report(f"{outcome.path} {outcome.dtype} {outcome.heads} {outcome.case}: {outcome.verdict}")
                outcomes.append(outcome)
        for name in (TIMED, model):
            if name is not None:
                checked, figures = _model(name, where)
                outcomes.append(checked)
                tables.append(figures)
    tables = [exactness_table(outcomes), *tables, summary(outcomes)]
    finish(tables, str(Machine.here(where)), _as_json(outcomes, str(Machine.here(where))), targets, json)
    if any(outcome.verdict == "FAIL" for outcome in outcomes):
        raise typer.Exit(FAILED)


def _device(name: str) -> torch.device:
    """The device of that name, if it is there. Raises `OptionError`."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device={name} is not possible: give cuda, cuda:1 or cpu") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"no GPU here that PyTorch {torch.__version__} can use; --device cpu runs a few of the checks without one"
        )
    if device.type not in ("cuda", "cpu"):
        raise OptionError(f"--device={name} is not possible: these checks are for cuda and cpu")
    return device


def _model(model: str, device: torch.device) -> tuple[Outcome, Table]:
    """A model, or `TIMED`, by the Triton kernels: its self-test, CUDA graphs against none, and the times of passes."""
    import torch

    from hogwild.bench.exactness import check_graphs
    from hogwild.bench.passes import PassOptions, bench_passes
    from hogwild.bench.random_models import random_model
    from hogwild.bench.report import pass_table
    from hogwild.engine import Engine

    with reporting() as report, loading(model) as progress:
        options, where = PassOptions(WORKERS, CONTEXTS), str(device)
        given = random_model(SHAPE, torch.bfloat16, device) if model == TIMED else model
        engine = Engine.load(given, device=where, attention="triton", progress=progress)
        figures = list(bench_passes(engine, "triton", options, report))
        outcome = check_graphs(engine)
        if outcome.verdict == "pass":
            figures += bench_passes(engine, "triton, graphs", options, report)
        given = engine.model if model == TIMED else model
        del engine
        figures += bench_passes(
            Engine.load(given, device=where, attention="plain", check=False), "plain", options, report
        )
    return outcome, pass_table(figures, f"{model}: passes")


def exactness_table(outcomes: Sequence[Outcome]) -> Table:
    """A line for each comparison."""
    from hogwild.bench.report import Table

    rows = [
        (
            outcome.path,
            outcome.dtype,
            outcome.heads,
            outcome.case,
            "" if outcome.reason else f"{outcome.difference:.1e}",
            "" if outcome.reason else f"{outcome.allowed:.1e}",
            f"{outcome.verdict}: {outcome.reason}" if outcome.reason else outcome.verdict,
        )
        for outcome in outcomes
    ]
    columns = ("path", "dtype", "head size", "case", "largest difference", "rounding explains", "result")
    return Table("Attention against its definition in float64", columns, tuple(rows))


def summary(outcomes: Sequence[Outcome]) -> Table:
    """How many comparisons of each path and dtype passed, failed and were left out, and how near they came."""
    from hogwild.bench.report import Table

    rows = []
    for path, dtype in dict.fromkeys((outcome.path, outcome.dtype) for outcome in outcomes):
        of = [outcome for outcome in outcomes if (outcome.path, outcome.dtype) == (path, dtype)]
        counts = Counter(outcome.verdict for outcome in of)
        shares = [outcome.difference / outcome.allowed for outcome in of if outcome.allowed]
        nearest = f"{max(shares):.0%}" if shares else ""
        rows.append((path, dtype, *(str(counts[verdict]) for verdict in ("pass", "FAIL", "left out")), nearest))
    columns = ("path", "dtype", "pass", "FAIL", "left out", "largest share of the tolerance")
    return Table("Summary", columns, tuple(rows))


def _as_json(outcomes: Sequence[Outcome], machine: str) -> str:
    import json
    from dataclasses import asdict

    lines = [asdict(outcome) | {"verdict": outcome.verdict} for outcome in outcomes]
    return json.dumps({"machine": machine, "exactness": lines}, indent=1)
