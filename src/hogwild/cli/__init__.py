"""The ``hogwild`` command: one file a verb; here they meet, and errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from hogwild import __version__
from hogwild.cli import bench, check, env, evaluate, models, replay, run, serve, teams, text, train
from hogwild.errors import HogwildError
from hogwild.models.parallel import launched

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
app.command("run")(run.run)
app.command("serve", context_settings={"auto_envvar_prefix": serve.ENVIRONMENT})(serve.serve)
app.command("watch")(teams.watch)
app.command("replay")(replay.replay)
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.add_typer(check.app, name="check")
app.add_typer(evaluate.app, name="eval")
app.command("train")(train.train)
app.command("teamwork")(train.teamwork)
app.command("env")(env.env)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hogwild {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", metavar="", help="Print the version.", callback=_version, is_eager=True)
]


@app.callback(invoke_without_command=True)
def hogwild(
    context: typer.Context,
    version: Version = False,
) -> None:
    """Several workers of one language model solve a task together and see each other's words as they are written."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: the process's own) and return its exit code.

    Of the processes that torchrun started, only the first one prints.
    """
    if launched().rank == 0:
        return _main(arguments)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        return _main(arguments)


def _main(arguments: list[str] | None) -> int:
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its retries would run through our output
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal's encoding lacks becomes "?", never an error
            stream.reconfigure(errors="replace")
    try:
        code = app(arguments, prog_name="hogwild", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except HogwildError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(_usage(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must find no closed pipe
        return 1
    except Exception as error:
        if os.environ.get("HOGWILD_DEBUG"):
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (set HOGWILD_DEBUG=1 for the traceback)", 1)


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    help_ = f" (see {context.command_path} --help)" if context else ""
    return error.format_message() + help_


def _fail(message: str, code: int) -> int:
    if launched().size > 1 and not _tell_launcher(message):
        return code
    line = Text.assemble(("hogwild: error:", "bold red"), " ", text.one_line(message))
    Console(stderr=True).print(line, soft_wrap=True)
    return code


def _tell_launcher(message: str) -> bool:
    """Let torchrun's summary name the rank and its error, whichever it is; whether this rank prints it as well."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise HogwildError(message) from None  # the summary shows the traceback of the error that is handled
    except HogwildError as error:
        get_error_handler().record_exception(error)
    return launched().rank == 0
