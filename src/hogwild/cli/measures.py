"""``hogwild eval collaboration``: what went on in a team that has run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hogwild.cli.bench import Json, finish

Traces = Annotated[list[Path], typer.Argument(metavar="TRACE...", help="Files that hogwild run --trace wrote.")]
Parts = Annotated[
    int, typer.Option(metavar="N", help="How many numbered parts the task has.", show_default="those dealt out")
]
Together = Annotated[
    bool, typer.Option("--together", metavar="", help="As if all traces were one team, that did not see itself.")
]

LEGEND = (
    "repeated: 4-word sequences that another had written before; explained: by how much the others' words shorten its "
    "own for zlib; fresh: words that its step before did not have, after checks (otherwise)"
)


def collaboration(trace: Traces, parts: Parts = 0, together: Together = False, json: Json = False) -> None:
    """Show who did what in a TRACE, how much of it twice, and who spoke of whom."""
    from json import dumps

    from hogwild.cli.request import within
    from hogwild.eval.collaboration import measure, worker_table
    from hogwild.team.trace import read_trace

    within("--parts", parts, 0)
    read = [(str(path), read_trace(path)) for path in trace]
    if together:
        found = [(" + ".join(name for name, _ in read), measure(*(events for _, events in read), parts=parts))]
    else:
        found = [(name, measure(events, parts=parts)) for name, events in read]
    as_json = dumps([{"trace": name} | one.as_dict() for name, one in found], indent=1)
    finish([worker_table(name, one) for name, one in found], LEGEND, as_json, [], json)
