"""``hogwild eval``: accuracy at a budget of passes, and what goes on in a team."""

from __future__ import annotations

import typer

from hogwild.cli import accuracy, measures

app = typer.Typer(no_args_is_help=False)
app.command("run")(accuracy.run_)
app.command("report")(accuracy.report_)
app.command("compare")(accuracy.compare_)
app.command("list")(accuracy.list_)
app.command("collaboration")(measures.collaboration)
app.command("attention")(measures.attention)
app.command("judge")(measures.judge)


@app.callback(invoke_without_command=True)
def evaluate(context: typer.Context) -> None:
    """Measure what teams are worth, on problems with answers that are known."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
