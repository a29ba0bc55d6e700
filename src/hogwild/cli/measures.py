"""``hogwild eval collaboration``, ``attention`` and ``judge``: what goes on in a team."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hogwild.cli import options as opt
from hogwild.cli import request as req
from hogwild.cli.bench import Json, finish
from hogwild.errors import OptionError

if TYPE_CHECKING:
    from hogwild.bench.report import Table
    from hogwild.engine import Engine

Traces = Annotated[
    list[Path], typer.Argument(metavar="TRACE...", help="Files of hogwild run --trace, or folders of hogwild eval run.")
]
Parts = Annotated[
    int, typer.Option(metavar="N", help="How many numbered parts the task has.", show_default="those dealt out")
]
Together = Annotated[
    bool, typer.Option("--together", metavar="", help="As if all traces were one team, that did not see itself.")
]
Layouts = Annotated[
    str, typer.Option("--layout", "-l", metavar="A,B,..", help="combined, contiguous, interleaved; one run for each.")
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where pictures and figures go; files there are replaced.")]
JudgeUrl = Annotated[str, typer.Option("--url", metavar="URL", help="Of its API, like http://127.0.0.1:8000/v1.")]
JudgeModel = Annotated[str, typer.Option(metavar="NAME", help="The judge, as the API calls it.")]
Judgements = Annotated[Path, typer.Option("--out", metavar="FILE", help="Judgements are added there, one a line.")]
Times = Annotated[int, typer.Option(metavar="N", help="Judgements of each trace.")]
JudgeTokens = Annotated[int, typer.Option("--max-tokens", metavar="N", help="Of an answer, thoughts included.")]
KeyVariable = Annotated[str, typer.Option(metavar="NAME", help="The environment variable that holds the API's key.")]

LEGEND = (
    "repeated: 4-word sequences that another had written before; explained: by how much the others' words shorten its "
    "own for zlib; fresh: words that its step before did not have, after checks (otherwise)"
)


def collaboration(trace: Traces, parts: Parts = 0, together: Together = False, json: Json = False) -> None:
    """Show who did what in a TRACE, how much of it twice, and who spoke of whom; of a folder, by method."""
    from json import dumps

    from hogwild.eval.collaboration import by_method, collaboration_table, measure, worker_table
    from hogwild.eval.traces import Traced, read_runs

    req.within("--parts", parts, 0)
    read = [(path, [replace(one, parts=parts or one.parts) for one in read_runs(path)]) for path in trace]
    if together:
        teams, name = [team for _, runs in read for one in runs for team in one.teams], " + ".join(map(str, trace))
        read = [(Path(f"{name}, together"), [Traced(name, teams, parts=parts)])]
    tables: list[Table] = []
    for path, runs in read:
        if path.is_dir():
            tables.append(collaboration_table(by_method(runs), f"{path}: means over the runs"))
        else:
            tables += [worker_table(one.name, measure(*one.teams, parts=one.parts)) for one in runs]
    found = [(one.name, measure(*one.teams, parts=one.parts)) for _, runs in read for one in runs] if json else []
    as_json = dumps([{"trace": name} | one.as_dict() for name, one in found], indent=1)
    finish(tables, LEGEND, as_json, [], json)


def attention(
    task: opt.Task,
    out: Out,
    workers: opt.Workers = None,
    layout: Layouts = "combined",
    budget: opt.Budget = 128,
    assign: opt.Assign = None,
    part: opt.Part = None,
    seed: opt.Seed = 0,
    temperature: opt.Temperature = None,
    model: opt.Model = opt.DEFAULT_MODEL,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
) -> None:
    """Let a team work on TASK, and see where each worker looks in each pass: the others, history, its own text.

    For each layout, --out gets a picture, a CSV file with the means over layers and heads, the same as JSON lines with
    every layer, and the trace of the run.
    """
    if assign and part:
        raise OptionError("--part and --assign cannot be had together; parts given are assigned as given")
    asked = req.Request(
        task=req.read_task(task),
        model=model,
        workers=workers or 2,
        budget=budget,
        seed=seed,
        sampling={} if temperature is None else {"temperature": temperature},
        assign=tuple(part) if part else assign or "none",
        device=device,
        dtype=dtype,
    )
    requests = [replace(asked, layout=name) for name in req.split_list("--layout", layout)]
    if out.exists() and not out.is_dir():
        raise OptionError(f"--out: {str(out)!r} is a file; give a folder")
    from hogwild.bench.plot import plot_needs
    from hogwild.cli.watch import load_engine

    plot_needs([out / "attention.svg"])
    out.mkdir(parents=True, exist_ok=True)
    engine = load_engine(asked)
    tables = [_observe(engine, request, out) for request in requests]
    finish(tables, f"{out}: pictures, CSV, JSON lines, traces", "", [], False)


def _observe(engine: Engine, request: req.Request, out: Path) -> Table:
    """One run; what it shows, as a table."""
    from hogwild.cli.watch import make_team
    from hogwild.eval.gaze import Look, draw, gaze_table, save, watched
    from hogwild.team.ask import drive
    from hogwild.team.trace import TraceWriter

    team, found = make_team(engine, request), list[Look]()
    with engine.watch() as watcher, TraceWriter(out / f"{request.layout}.trace.jsonl") as trace:
        for event in drive(engine, watched(team, watcher, found.append)):
            trace.write(event)
    for ending in (".csv", ".jsonl"):
        save(found, out / (request.layout + ending))
    title = f"{request.layout}, {engine.name}, seed {request.seed}: share of attention"
    draw(found, title, out / f"{request.layout}.svg")
    return gaze_table(found, f"{title} (of tokens)")


def judge(
    trace: Traces,
    url: JudgeUrl,
    judge_model: JudgeModel,
    out: Judgements,
    times: Times = 3,
    max_tokens: JudgeTokens = 1024,
    key_variable: KeyVariable = "HOGWILD_JUDGE_KEY",
    json: Json = False,
) -> None:
    """Let another model say how well the workers of each TRACE worked together, from 1 (not at all) to 6.

    What stands in --out already is not asked again, so the same command goes on where it was stopped.
    """
    import os
    from json import dumps

    from hogwild.cli.needs import need

    need("hogwild eval judge", "httpx2")
    from hogwild.cli.bench import reporting
    from hogwild.eval.judge import Judge, judge_runs, judge_table, summary, transcript
    from hogwild.eval.traces import read_runs

    req.within("--times", times, 1)
    req.within("--max-tokens", max_tokens, 1)
    req.check_writable("--out", out)
    asked = Judge(url, judge_model, os.environ.get(key_variable, ""), max_tokens=max_tokens)
    runs, found = [one for path in trace for one in read_runs(path)], []
    shown, methods = {one.name: transcript(*one.teams) for one in runs}, {one.name: one.method for one in runs}
    with reporting() as report:
        for one in judge_runs(shown, asked, times, out):
            found.append(one)
            report(f"{one.trace}, judgement {one.number} of {times}: {one.score or 'not parsable'}")
    asked.close()
    legend = f"{judge_model} at {url}, {times} times each; all judgements in {out}"
    finish(
        [judge_table(found, methods)],
        legend,
        dumps(summary(found), indent=1),
        [],
        json,
    )
