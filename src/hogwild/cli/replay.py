"""``hogwild replay``: a trace shown again as it was seen, or a frame of it as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hogwild.errors import OptionError

Trace = Annotated[Path, typer.Argument(metavar="TRACE", help="A file that hogwild run --trace wrote.")]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="X|max", help="1 is the run's own; 0 or max does not wait.", show_default="1 on a terminal, else max"
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print the events, one JSON object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print the answer only.")]
Svg = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the live view into an SVG picture instead.")]
At = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="The moment that --svg draws.", show_default="the end")
]
Width = Annotated[int, typer.Option(metavar="COLUMNS", help="The width of the --svg picture.")]
Height = Annotated[int, typer.Option(metavar="LINES", help="The height of the --svg picture.")]

Web = Annotated[bool, typer.Option("--web", metavar="", help="Serve it as a page on this machine, to scrub through.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="Of --web.", show_default="any free one")]


def replay(
    trace: Trace,
    speed: Speed = None,
    json: Json = False,
    quiet: Quiet = False,
    svg: Svg = None,
    at: At = None,
    width: Width = 100,
    height: Height = 30,
    web: Web = False,
    port: Port = 0,
) -> None:
    """Show a TRACE again, at its own speed or at yours."""
    from hogwild.cli import playback

    if web:
        if json or quiet or speed is not None or svg is not None:
            raise OptionError("--web shows all of a run; leave out --speed, --json, --quiet and --svg")
        from hogwild.cli import webpage

        webpage.serve(trace, port)
    elif svg is None:
        playback.play(trace, speed, json=json, quiet=quiet)
    elif json or quiet or speed is not None:
        raise OptionError("--svg draws one frame; leave out --speed, --json and --quiet")
    else:
        playback.draw(trace, svg, at, width, height)
