"""``hogwild watch`` against a server that plays a story: the list, a team, what is said, how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_server import STORY, FakeServer, serving
from fakes import scripted
from hogwild.cli import main
from hogwild.cli.board import Board
from hogwild.cli.remote import Remote
from hogwild.cli.terminal import Frame, TeamsScreen, Watch
from hogwild.errors import HogwildError, OptionError
from hogwild.team.events import Finished, Said
from serving import Served, served, use_prompts

textual = pytest.importorskip("textual", reason="textual is not installed: pip install 'hogwild[serve]'")
from textual.pilot import Pilot  # noqa: E402
from textual.widgets import DataTable, Input, Static  # noqa: E402

MID = 24


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer(STORY)
    with serving(server.app) as url:
        server.url = url
        yield server


async def start(server: FakeServer, task: str = "Count to ten.") -> str:
    """Start a team, as a client does; its id."""
    remote = Remote(server.url, server.key)
    told = await remote._ask("POST", "/v1/teams", {"task": task})
    await remote.close()
    return str(told["id"])


def drive(server: FakeServer, team: str | None, act: Callable[[Pilot[None]], Coroutine[Any, Any, None]]) -> Watch:
    """Run the application without a terminal, and ``act`` in it."""
    app = Watch(lambda: Remote(server.url, server.key or None), team)

    async def run() -> None:
        async with app.run_test(size=(100, 30)) as pilot:
            await act(pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    for _ in range(300):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it never was so")


def board(pilot: Pilot[None]) -> Board:
    return pilot.app.screen.query_one(Frame).board


def shown(pilot: Pilot[None]) -> str:
    """What stands on the screen."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def test_a_team_is_chosen_watched_told_something_and_stopped(server: FakeServer) -> None:
    server.hold = MID

    async def act(pilot: Pilot[None]) -> None:
        await start(server)
        await until(pilot, lambda: pilot.app.screen.query_one(DataTable).row_count == 1)
        await until(pilot, lambda: "Count to ten." in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen.query(Frame) and board(pilot).passes == 9)
        await until(pilot, lambda: "Alice step 1" in shown(pilot) and "Bob step 1" in shown(pilot))
        pilot.app.screen.query_one("#say", Input).focus()
        await pilot.press(*"hurry", "enter")
        await until(pilot, lambda: any(entry.kind == "said" for entry in board(pilot).history))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: board(pilot).finished is not None)
        assert board(pilot).answer == "It is 408."
        await until(pilot, lambda: pilot.app.screen.query_one("#say", Input).disabled)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, TeamsScreen)

    drive(server, None, act)
    assert "POST /v1/teams/team-1/say" in server.requests
    assert "POST /v1/teams/team-1/stop" in server.requests


def test_a_connection_that_is_lost_goes_on_where_it_was(server: FakeServer) -> None:
    server.hold = MID
    team = asyncio.run(start(server))

    async def act(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: pilot.app.screen.query(Frame) and board(pilot).passes == 9)
        server.cut = True
        await until(pilot, lambda: "connection lost" in str(pilot.app.screen.query_one("#note", Static).content))
        server.hold = None
        await until(pilot, lambda: board(pilot).finished is not None)
        assert board(pilot).tokens == 72
        assert board(pilot).steps == 4

    drive(server, team, act)
    assert server.connections == 2


def test_markup_and_escapes_of_others_are_text(server: FakeServer) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await start(server, "[red]x[/] \x1b[2J")
        await until(pilot, lambda: pilot.app.screen.query_one(DataTable).row_count == 1)
        await until(pilot, lambda: "[red]x[/]" in shown(pilot))
        assert "\x1b" not in shown(pilot)

    drive(server, None, act)


def test_a_key_that_is_missing_ends_it_with_a_sentence(server: FakeServer) -> None:
    server.key = "secret"
    app = Watch(lambda: Remote(server.url), None)

    async def run() -> None:
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.problem is not None)

    asyncio.run(run())
    assert "HOGWILD_API_KEY" in str(app.problem)


def test_a_server_that_is_not_there_is_told_and_looked_for_again() -> None:
    app = Watch(lambda: Remote("http://127.0.0.1:9"), None)

    async def run() -> None:
        async with app.run_test(size=(120, 20)) as pilot:
            await until(pilot, lambda: "cannot be reached" in shown(pilot))

    asyncio.run(run())
    assert app.problem is None


def test_the_client_follows_to_the_end_and_tells_refusals(server: FakeServer) -> None:
    async def run() -> None:
        team, remote = await start(server), Remote(server.url)
        told = [event async for event in remote.follow(team)]
        assert isinstance(told[-1], Finished)
        assert len(told) == len(STORY)
        with pytest.raises(HogwildError, match="no such team"):
            await anext(remote.follow("nobody"))
        await remote.close()

    asyncio.run(run())


def test_a_cancelled_team_ends_with_a_sentence(server: FakeServer) -> None:
    server.hold = MID

    async def run() -> None:
        team, remote = await start(server), Remote(server.url)
        await remote._ask("DELETE", f"/v1/teams/{team}")
        told = [event async for event in remote.follow(team)]
        assert told[-1] == "the team was cancelled"
        await remote.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["http://[", "", "localhost:8000", "ftp://x", "http://:80", "http://x:99999"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="--url"):
        Remote(url)


def test_without_a_terminal_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch"]) == 2
    assert "needs a terminal" in capsys.readouterr().err


def test_the_terminals_client_speaks_to_the_real_server(monkeypatch: pytest.MonkeyPatch, prompt: Path) -> None:
    async def run(server: Served) -> None:
        remote = Remote(server.url, "secret-key")
        team = str((await remote._ask("POST", "/v1/teams", {"task": "Count.", "budget": 3000}))["id"])
        told = []
        async for event in remote.follow(team):
            told.append(event)
            if len(told) == 20:
                assert [one["id"] for one in await remote.teams()] == [team]
                await remote.say(team, "hello")
            if isinstance(event, Said):
                await remote.stop(team)
        assert isinstance(told[-1], Finished)
        assert told[-1].answer == "done"
        await remote.close()

    use_prompts(monkeypatch, prompt)
    engine = scripted({"Alice": ["One.\n\n"]}, answer="done")
    engine.hook = lambda: time.sleep(0.01)
    with served(engine, api_keys=("secret-key",)) as server:
        asyncio.run(run(server))
