"""``hogwild watch``: the teams of a running server, in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from hogwild.errors import OptionError

Team = Annotated[
    str | None, typer.Argument(metavar="[TEAM]", help="The id of a team.", show_default="a list to choose from")
]
Url = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where hogwild serve is.", envvar="HOGWILD_URL", show_envvar=True)
]
ApiKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="The server's, if it asks for one.", envvar="HOGWILD_API_KEY")
]


def watch(team: Team = None, url: Url = "http://127.0.0.1:8000", api_key: ApiKey = None) -> None:
    """Watch the teams of a server that hogwild serve has started; talk to one, or stop it."""
    from hogwild.cli import view
    from hogwild.cli.needs import need

    need("hogwild watch", "textual", "httpx2")
    if not view.on_terminal():
        raise OptionError("hogwild watch needs a terminal; for programs there is GET /v1/teams/ID/events")
    from hogwild.cli.remote import Remote
    from hogwild.cli.terminal import Watch

    app = Watch(lambda: Remote(url, api_key), team)
    app.run()
    if app.problem is not None:
        raise app.problem
