"""The options of ``hogwild run``, as types: what they are called, what their help says, and under which heading."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hogwild.cli.request import ANSWERS, ASSIGN, ATTENTION, LAYOUTS, ON_FULL, PROMPTS, QUANTIZE

DEFAULT_MODEL = "smollm2-135m-instruct"

_team = partial(typer.Option, rich_help_panel="Team")
_sampling = partial(typer.Option, rich_help_panel="Sampling")
_model = partial(typer.Option, rich_help_panel="Model")
_output = partial(typer.Option, rich_help_panel="Output")

_THEIRS = "the model's own"


def _help(what: str, values: tuple[str, ...]) -> str:
    return f"{what}: {', '.join(values[:-1])} or {values[-1]}."


Task = Annotated[
    str, typer.Argument(metavar="TASK", help="The task in words, a file that holds it, or - for standard input.")
]

Workers = Annotated[int | None, _team("--workers", "-w", metavar="N", help="How many, 1 to 16.", show_default="2")]
Names = Annotated[str | None, _team(metavar="A,B,..", help="The workers' names; also says how many.")]
Layout = Annotated[str, _team("--layout", "-l", metavar="NAME", help=_help("How the views are made", LAYOUTS))]
Budget = Annotated[int, _team("--budget", "-b", metavar="PASSES", help="Passes before the finisher answers.")]
Assign = Annotated[
    str | None,
    _team(
        metavar="HOW", help=_help("Who shares the work out (the workers, or a first plan)", ASSIGN), show_default="none"
    ),
]
Part = Annotated[
    list[str] | None, _team(metavar="TEXT", help="A part of the task; repeat for each. Shared out in runs.")
]
OneByOne = Annotated[
    bool, _team("--one-by-one", metavar="", help="Hand parts out one by one, to whoever is free, instead of in runs.")
]
Prompt = Annotated[
    str | None, _team(metavar="NAME", help=_help("The packaged templates", PROMPTS), show_default=PROMPTS[0])
]
PromptDir = Annotated[Path | None, _team(metavar="FOLDER", help="Templates of your own.")]
Answer = Annotated[str, _team(metavar="FORM", help=_help("The form of the answer", ANSWERS))]
Schema = Annotated[
    Path | None, _team(metavar="FILE", help="A JSON schema that the answer follows (one worker: all it writes).")
]
OnFull = Annotated[
    str, _team(metavar="HOW", help=_help("When the window is full (answer now, or drop the oldest steps)", ON_FULL))
]
Snapshots = Annotated[str | None, _team(metavar="N,N,..", help="Also ask for the answer after so many passes.")]
Drafts = Annotated[
    int, _team(metavar="N", help="Guess up to N tokens a pass from what was written before; the result is as exact.")
]

Seed = Annotated[int, _sampling(metavar="N", help="The same seed gives the same tokens.")]
Temperature = Annotated[
    float | None, _sampling("--temperature", "-t", metavar="X", help="0 is greedy.", show_default=_THEIRS)
]
TopP = Annotated[
    float | None, _sampling(metavar="0..1", help="Keep the likeliest tokens up to this sum.", show_default=_THEIRS)
]
TopK = Annotated[
    int | None, _sampling(metavar="N", help="Keep the N likeliest tokens; 0 keeps all.", show_default=_THEIRS)
]
MinP = Annotated[
    float | None,
    _sampling(metavar="0..1", help="Keep tokens this likely, relative to the likeliest.", show_default=_THEIRS),
]
RepetitionPenalty = Annotated[
    float | None, _sampling(metavar="X", help="Above 1 makes used tokens less likely.", show_default=_THEIRS)
]
PresencePenalty = Annotated[
    float | None, _sampling(metavar="-2..2", help="Takes this off tokens that the worker has used.", show_default="0")
]
FrequencyPenalty = Annotated[
    float | None, _sampling(metavar="-2..2", help="The same, for each time that it has.", show_default="0")
]

Model = Annotated[
    str, _model("--model", "-m", metavar="MODEL", help="A packaged name, a folder, a .gguf file or a hub id.")
]
Adapter = Annotated[
    str | None,
    _model(
        metavar="NAME",
        help="LoRA for it: a name, a folder, or none. A packaged model may have one for teams that share out the work.",
        show_default="the model's",
    ),
]
Device = Annotated[str, _model(metavar="DEVICE", help="Where the model runs.")]
Dtype = Annotated[
    str | None, _model(metavar="DTYPE", help="Of weights and cache, like float32 or bfloat16.", show_default=_THEIRS)
]
Quantize = Annotated[str, _model(metavar="BITS", help=_help("The weights, on the CPU", QUANTIZE))]
KvMemory = Annotated[
    str | None,
    _model(metavar="SIZE", help="For keys and values, like 2GB.", show_default="a quarter of what is free"),
]
KvDtype = Annotated[
    str | None, _model(metavar="DTYPE", help="Of keys and values: int8 halves them.", show_default=_THEIRS)
]
Attention = Annotated[str, _model(metavar="NAME", help=_help("The attention function", ATTENTION))]
Graphs = Annotated[bool, _model("--graphs", metavar="", help="Record short passes as CUDA graphs.")]
Compile = Annotated[
    bool, _model("--compile", metavar="", help="Put the layers through torch.compile: a minute more to load.")
]
TrustRemoteCode = Annotated[
    bool, _model("--trust-remote-code", metavar="", help="Run Python code that comes with the model.")
]

Trace = Annotated[Path | None, _output(metavar="FILE", help="Keep every event there, for hogwild replay.")]
Json = Annotated[bool, _output("--json", metavar="", help="Print the events, one JSON object a line.")]
Quiet = Annotated[bool, _output("--quiet", "-q", metavar="", help="Print the answer only.")]
