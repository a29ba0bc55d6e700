"""``hogwild train``: a model learns to work in a team. ``hogwild teamwork``: how well it does."""

from __future__ import annotations

import json as jsons
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hogwild.cli import options as opt
from hogwild.cli.loading import loading
from hogwild.cli.needs import need
from hogwild.cli.request import within
from hogwild.errors import OptionError

if TYPE_CHECKING:
    from hogwild.engine import Engine
    from hogwild.train.measure import Comparison

_run = partial(typer.Option, rich_help_panel="Run")
_learn = partial(typer.Option, rich_help_panel="Learning")
_look = partial(typer.Option, rich_help_panel="Measuring")

Out = Annotated[Path, _run("--out", "-o", metavar="FOLDER", help="For the adapter, checkpoints, log and plot.")]
Data = Annotated[
    Path | None, _run(metavar="FILE", help="A mix (.toml) or traces (.jsonl).", show_default="the packaged mix")
]
Steps = Annotated[int | None, _run(metavar="N", help="How long: steps; or --minutes.")]
Minutes = Annotated[float | None, _run(metavar="N", help="How long: minutes of training.")]
SaveEvery = Annotated[int, _run(metavar="STEPS", help="Between two checkpoints; a run that was cut off goes on there.")]
LoraRank = Annotated[int, _learn(metavar="N", help="Of the adapter; 0 trains all weights.")]
LoraAlpha = Annotated[int | None, _learn(metavar="N", help="The adapter's scale.", show_default="twice the rank")]
Rate = Annotated[
    float | None,
    _learn("--learning-rate", metavar="X", help="The highest.", show_default="1e-3, all weights: 2e-4"),
]
Batch = Annotated[int, _learn(metavar="N", help="Traces a step.")]
PackTokens = Annotated[int, _learn(metavar="N", help="In one forward; fewer need less memory.")]
WarmUp = Annotated[int, _learn(metavar="STEPS", help="In which the rate rises.")]
Seed = Annotated[int, _learn(metavar="N", help="Of traces and first weights.")]
Dtype = Annotated[
    str | None, _learn(metavar="DTYPE", help="bfloat16 or float32.", show_default="what the processor is fast at")
]
EvalEvery = Annotated[int, _look(metavar="STEPS", help="Between two measurements; 0 for none.")]
EvalTasks = Annotated[int, _look(metavar="N", help="Of each.")]
Workers = Annotated[int, _look("--workers", "-w", metavar="N", help="Of the measured teams.")]
Adapter = Annotated[str | None, _look(metavar="FOLDER", help="An adapter for the model.")]
Mix = Annotated[Path | None, _look(metavar="FILE", help="A mix (.toml) of tasks.", show_default="the packaged mix")]
Tasks = Annotated[int, _look(metavar="N", help="How many.")]
Kind = Annotated[str, _look(metavar="KIND", help="seen: new tasks of words and phrasings trained on; kept: of others.")]
Case = Annotated[
    str, _look(metavar="CASE", help="plain, unequal (parts of very unequal length), known (one part done), late.")
]
Text = Annotated[
    int,
    _look(metavar="TOKENS", help="Also the perplexity on so many tokens of plain text, with and without the adapter."),
]
Layout = Annotated[str, _look(metavar="NAME", help="Of the teams.")]
Plot = Annotated[
    Path | None,
    _look(metavar="FILE", help="Draw the parts done against passes, with and without the adapter (.svg or .png)."),
]
Json = Annotated[bool, _look("--json", metavar="", help="Print figures as JSON.")]


def train(
    out: Out,
    model: opt.Model = opt.DEFAULT_MODEL,
    data: Data = None,
    steps: Steps = None,
    minutes: Minutes = None,
    save_every: SaveEvery = 20,
    lora_rank: LoraRank = 8,
    lora_alpha: LoraAlpha = None,
    learning_rate: Rate = None,
    batch: Batch = 8,
    pack_tokens: PackTokens = 1024,
    warm_up: WarmUp = 10,
    seed: Seed = 0,
    dtype: Dtype = None,
    device: opt.Device = "cpu",
    eval_every: EvalEvery = 50,
    eval_tasks: EvalTasks = 8,
    workers: Workers = 2,
) -> None:
    """Train a model on runs of teams, so that its workers share a task out and see what the others do.

    It ends with an adapter in FOLDER, for --adapter. The same command again goes on where it was cut off.
    """
    from hogwild.native import fast_bfloat16
    from hogwild.train.trainer import Recipe, Trainer

    recipe = Recipe(
        model=model,
        data=str(data) if data else None,
        lora_rank=lora_rank,
        lora_alpha=2 * lora_rank if lora_alpha is None else lora_alpha,
        rate=learning_rate or (1e-3 if lora_rank else 2e-4),
        batch=batch,
        pack_tokens=pack_tokens,
        steps=steps,
        minutes=minutes,
        warm_up=warm_up,
        seed=seed,
        device=device,
        dtype=dtype or ("bfloat16" if device != "cpu" or fast_bfloat16() else "float32"),
        eval_every=eval_every,
        eval_tasks=eval_tasks,
        eval_workers=workers,
        save_every=save_every,
    )
    if out.exists() and not out.is_dir():
        raise OptionError(f"--out: {str(out)!r} is a file; give a folder")
    with loading(model) as progress:
        trainer = Trainer(recipe, out, progress)
    begun = f", goes on at step {trainer.step}" if trainer.step else ""
    typer.echo(f"{model}: {trainer.trained.count:,} numbers are trained{begun}")
    for line in trainer.run():
        typer.echo(_told(line, trainer.seconds_left))
    from hogwild.train.picture import draw_log
    from hogwild.train.trainer import read_log

    drawn = draw_log(read_log(out / "log.jsonl"), f"{model}, {trainer.step} steps", out / "training.png")
    typer.echo(f"{out}: done{', with training.png' if drawn else ''}; try it with --adapter {out}")


def _told(line: dict[str, Any], left: float) -> str:
    """A line of the log for people."""
    if "loss" in line:
        work = f"{line['tokens']:5,} tokens in {line['seconds']:5.1f} s"
        return f"step {line['step']:4}  loss {line['loss']:7.4f}  {work}  {left / 60:5.1f} min left"
    return (
        f"step {line['step']:4}  parts once {line['once']:.0%}, twice {line['twice']:.0%}, right {line['right']:.0%} "
        f"(one worker {line['right_one']:.0%});  passes {line['passes']} (one worker {line['passes_one']}, "
        f"best {line['passes_best']})"
    )


def teamwork(
    model: opt.Model = opt.DEFAULT_MODEL,
    adapter: Adapter = None,
    mix: Mix = None,
    tasks: Tasks = 24,
    workers: Workers = 2,
    kind: Kind = "kept",
    case: Case = "plain",
    layout: Layout = "combined",
    text: Text = 0,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Measure how well a model works in a team: parts done once, twice, rightly, and passes against one worker."""
    within("--tasks", tasks, 1)
    within("--workers", workers, 1, 16)
    within("--text", text, 0)
    if plot is not None:
        need("--plot", "matplotlib", extra="eval")
    from hogwild.train.measure import compare
    from hogwild.train.tasks import CASES, draw_case, read_mix

    if kind not in ("seen", "kept"):
        raise OptionError(f"--kind: unknown value {kind!r}; give seen or kept")
    if case not in CASES:
        raise OptionError(f"--case: unknown value {case!r}; give one of {', '.join(CASES)}")
    read = read_mix(mix)
    drawn = [
        draw_case(case, f"teamwork {i}", read, kept=kind == "kept", workers=workers, layout=layout)
        for i in range(tasks)
    ]
    engine = _load(model, adapter, device, dtype)
    compared = compare(engine, drawn)
    figures, before = compared.as_dict(), _load(model, None, device, dtype) if text or plot else engine
    if text:
        figures |= _perplexities({"perplexity": engine, "perplexity_before": before}, text)
    if plot is not None:
        _draw(plot, f"{len(drawn)} tasks ({kind}, {case})", {"trained": compared, "as it was": compare(before, drawn)})
    if json:
        typer.echo(jsons.dumps(figures))
        return
    for name, value in figures.items():
        typer.echo(f"{name:12} {value:g}")


def _draw(path: Path, title: str, compared: dict[str, Comparison]) -> None:
    from hogwild.train.picture import draw_teams

    drawn = {f"a team, {when}": one.team for when, one in compared.items()}
    drawn |= {f"one worker, {when}": one.one for when, one in compared.items()}
    draw_teams(drawn, title, path)


def _perplexities(engines: dict[str, Engine], count: int) -> dict[str, float]:
    from hogwild.bench.perplexity import engine_logits, perplexity, reference_tokens

    return {
        name: round(perplexity(engine_logits(engine), reference_tokens(engine.tokenizer, count)), 4)
        for name, engine in engines.items()
    }


def _load(model: str, adapter: str | None, device: str, dtype: str | None) -> Engine:
    with loading(model) as progress:
        from hogwild.engine import Engine

        return Engine.load(model, adapter=adapter, device=device, dtype=dtype, progress=progress)
