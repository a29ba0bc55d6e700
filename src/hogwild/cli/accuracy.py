"""``hogwild eval run|report|compare|list``: accuracy at a budget of passes, of any model, by any method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hogwild.cli import options as opt
from hogwild.cli.bench import numbers
from hogwild.cli.loading import loading
from hogwild.cli.needs import need
from hogwild.cli.request import QUANTIZE, one_of, parse_bytes, split_list, within
from hogwild.cli.tables import show
from hogwild.cli.units import Units
from hogwild.errors import InputError, OptionError

if TYPE_CHECKING:
    from hogwild.engine import Engine
    from hogwild.eval.outcome import Method
    from hogwild.eval.problem import Loaded, Task
    from hogwild.eval.results import Asked, Folder
    from hogwild.sampling import Sampling

_work = partial(typer.Option, rich_help_panel="What is measured")
_files = partial(typer.Option, rich_help_panel="Files")
_model = partial(typer.Option, rich_help_panel="Model")

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Such as gsm8k-x5: see hogwild eval list.")]
Methods = Annotated[str, _work(metavar="A,B,..", help="Such as single,hogwild-2: see hogwild eval list.")]
Budgets = Annotated[str, _work(metavar="N,N,..", help="Budgets in passes, at which the answer is asked for.")]
Limit = Annotated[int | None, _work(metavar="N", help="The first N problems.", show_default="all")]
Seeds = Annotated[int, _work(metavar="K", help="Each problem K times, with the seeds 0 to K-1.")]
TaskSeed = Annotated[
    int, _work("--seed", metavar="N", help="Another one makes other problems, where they are generated.")
]
Kept = Annotated[bool, _work("--kept", metavar="", help="Take the problems that are kept aside for a last check.")]
Whole = Annotated[bool, _work("--whole", metavar="", help="Take all problems of a data set, the kept ones too.")]
Parallel = Annotated[int, _work(metavar="N", help="Units at work at once; 1 for seconds that mean something.")]
RunCode = Annotated[bool, _work("--allow-code-execution", metavar="", help="Run programs that the model writes, here.")]
Out = Annotated[
    Path, _files("--out", "-o", metavar="FOLDER", help="Where the results go; what is there is not redone.")
]
Data = Annotated[
    Path | None,
    _files(metavar="FOLDER", help="Files of data sets.", envvar="HOGWILD_DATA", show_default="from the hub"),
]
Adapter = Annotated[str | None, _model(metavar="NAME", help="LoRA for it: a name or a folder.", show_default="none")]
NoTraces = Annotated[bool, _files("--no-traces", metavar="", help="Do not keep the events of each unit.")]
Folders = Annotated[list[Path], typer.Argument(metavar="FOLDER..", help="Results of hogwild eval run.")]
To = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write pages and plots there, their names led by that of the results' folder."),
]
Some = Annotated[
    str | None,
    typer.Option("--methods", metavar="A,B,..", help="These only, the first being what the others are measured by."),
]
Side = Annotated[str, typer.Argument(metavar="FOLDER[:METHOD]", help="Results of hogwild eval run.")]


def run_(
    task: TaskName,
    out: Out,
    methods: Methods = "single,hogwild-2",
    budgets: Budgets = "128,256,512,1024",
    limit: Limit = None,
    seeds: Seeds = 1,
    seed: TaskSeed = 0,
    kept: Kept = False,
    whole: Whole = False,
    parallel: Parallel = 1,
    allow_code_execution: RunCode = False,
    data: Data = None,
    no_traces: NoTraces = False,
    temperature: opt.Temperature = None,
    top_p: opt.TopP = None,
    top_k: opt.TopK = None,
    model: opt.Model = opt.DEFAULT_MODEL,
    adapter: Adapter = None,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    quantize: opt.Quantize = "none",
    kv_memory: opt.KvMemory = None,
    kv_dtype: opt.KvDtype = None,
    attention: opt.Attention = "auto",
    graphs: opt.Graphs = False,
) -> None:
    """Let METHODS solve the problems of TASK, and score the answers at each budget.

    The same command goes on where it was stopped, by whatever. Another one for the same folder may add methods,
    budgets, seeds and problems; only what is missing is done.
    """
    within("--temperature", temperature, 0)
    within("--parallel", parallel, 1)
    within("--seed", seed, 0)
    one_of("--quantize", quantize, QUANTIZE)
    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
    load: dict[str, Any] = {"device": device, "dtype": dtype, "quantize": quantize, "kv_dtype": kv_dtype}
    load |= {"attention": attention, "graphs": graphs} | ({"adapter": adapter} if adapter else {})
    which = {"seed": seed, "kept": kept, "whole": whole}
    fixed = {"task": task, "model": model, **load, **given, **which, "parallel": parallel}
    memory = parse_bytes("--kv-memory", kv_memory) if kv_memory else None
    from hogwild.eval.methods import find_method
    from hogwild.eval.problem import Source
    from hogwild.eval.results import Asked, opened
    from hogwild.eval.tasks import find_task

    asked = Asked(fixed, split_list("--methods", methods), sorted(set(numbers("--budgets", budgets))), seeds, limit)
    found, ways = find_task(task), [find_method(name) for name in asked.methods]
    loaded = found.load(Source(data, limit, seed, kept, allow_code_execution, whole))
    with opened(out, asked) as folder:
        folder.check(loaded)
        if folder.todo(asked, loaded.problems):
            engine = _engine(model, load | {"kv_memory": memory})
            sampling = _sampling(engine, {name: value for name, value in given.items() if value is not None})
            _work_on(folder, asked, loaded, found, ways, engine, sampling, not no_traces)
        folder.finish()
    typer.echo(f"{out}: {len(folder.records)} units are done; see them with: hogwild eval report {out}")


def _engine(model: str, options: dict[str, Any]) -> Engine:
    with loading(model) as progress:
        from hogwild.engine import Engine

        return Engine.load(model, progress=progress, **options)


def _sampling(engine: Engine, given: dict[str, Any]) -> Sampling:
    from hogwild.sampling import Sampling

    return replace(Sampling.from_generation_config(engine.generation_config), **given)


def _work_on(
    folder: Folder,
    asked: Asked,
    loaded: Loaded,
    task: Task,
    methods: Sequence[Method],
    engine: Engine,
    sampling: Sampling,
    traces: bool,
) -> None:
    """Do what is missing, one unit after another to the disk."""
    from hogwild.bench.machine import Machine
    from hogwild.eval.runner import Runner

    todo = folder.todo(asked, loaded.problems)
    runner = Runner(engine, task, methods, sampling, parallel=asked.fixed["parallel"])
    runner.check(loaded.problems[0], asked.budgets)
    machine = asdict(Machine.here(engine.device))
    folder.start(asked, loaded, {"machine": machine, "dtype": str(engine.dtype), "sampling": asdict(sampling)})
    total = len(loaded.problems) * len(methods) * asked.seeds
    with Units(len(todo), total - len(todo)) as units:
        for done in runner.run(todo):
            folder.add(done.records, done.traces if traces else None)
            units.ended(done.error and f"{done.unit}: {done.error}")


def report_(folders: Folders, methods: Some = None, to: To = None) -> None:
    """Tables and plots of results: accuracy against passes, seconds and tokens, with 95% intervals.

    They are printed, and written as report.md, .svg and .png into each folder, or all to another one: there, results of
    one task also get a plot together.
    """
    need("hogwild eval report", "matplotlib", extra="eval")
    from hogwild.eval.report import Report, draw_together

    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
    names = [folder.resolve().name for folder in folders]
    if to is not None and len(set(names)) < len(names):
        raise OptionError("--to: two of the folders have the same name, and so would their pages; rename one")
    some = split_list("--methods", methods) if methods else ()
    reports = [Report.of(folder, some) for folder in folders]
    for folder, name, report in zip(folders, names, reports, strict=True):
        page = report.write(to or folder, f"{name}-" if to else "")
        show(report.tables(), report.small_print)
        typer.echo(f"written: {page}, and its plots beside it")
    for plot in draw_together(dict(zip(names, reports, strict=True)), to) if to else ():
        typer.echo(f"written: {plot}, all of one task together")


def compare_(a: Side, b: Side) -> None:
    """Two results of one task, paired problem by problem: two models, or two methods."""
    from hogwild.eval.report import compare

    show(compare(*_side(a), *_side(b)))


def _side(given: str) -> tuple[Path, str | None]:
    folder, colon, method = given.rpartition(":")
    if Path(given).is_dir() or not colon:
        return Path(given), None
    if not method:
        raise InputError(f"{given!r} ends in a colon; give a folder, or FOLDER:METHOD")
    return Path(folder), method


def list_() -> None:
    """The tasks and the methods that there are."""
    from hogwild.bench.report import Table
    from hogwild.eval.methods import list_methods
    from hogwild.eval.tasks import list_tasks

    show([Table("Tasks", ("name", "what it is"), tuple(list_tasks()))])
    show([Table("Methods", ("name", "what it is"), tuple(list_methods()))])
