"""The terminal application of ``hogwild watch``: a list of teams, and one team as `hogwild run` shows it, live."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Header, Input, Static

from hogwild.cli import screen, text
from hogwild.cli.board import Board
from hogwild.cli.remote import Remote
from hogwild.errors import HogwildError, InputError

LOOK = 2.0
"""Seconds between two looks at the list of teams."""

FRAME = 0.1
"""Seconds between two frames of a team."""


class TeamsScreen(Screen[None]):
    """The teams of the server, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.quit", "Quit"), Binding("r", "look", "Refresh")]

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self.remote = remote

    def compose(self) -> ComposeResult:
        """The table, and a line below it."""
        yield Header()
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static(id="note")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        for name, width in (("state", 9), ("passes", 11), ("workers", 7), ("task", 40), ("answer", 30)):
            self.query_one(DataTable).add_column(name, width=width)
        self.set_interval(LOOK, self.action_look)
        self.action_look()

    def action_look(self) -> None:
        """Ask the server for its teams."""
        self.run_worker(self._look(), exclusive=True)

    async def _look(self) -> None:
        note, table = self.query_one("#note", Static), self.query_one(DataTable)
        try:
            teams = await self.remote.teams()
        except InputError as error:
            give_up(self.app, error)
            return
        except HogwildError as error:
            note.update(Text(text.one_line(str(error)), style="red"))
            return
        row = table.cursor_row
        table.clear()
        for team in teams:
            passes, crew = f"{team['passes']}/{team['budget']}", str(len(team["workers"]))
            cells = (team["state"], passes, crew, team["task"], team["answer"] or "")
            table.add_row(*(Text(text.one_line(cell)[:400]) for cell in cells), key=team["id"])
        table.move_cursor(row=row)
        note.update(
            Text("Enter: watch a team" if teams else "No team yet: start one on the server's page.", style="dim")
        )

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Watch the team of that row."""
        if event.row_key.value is not None:
            self.app.push_screen(TeamScreen(self.remote, event.row_key.value))


class Frame(Widget):
    """The board of a run, drawn as `hogwild run` draws it."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()

    def render(self) -> RenderableType:
        """The frame for the size that it has."""
        return screen.render(self.board, self.size.width, self.size.height)


class TeamScreen(Screen[None]):
    """One team, live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "All teams"),
        Binding("ctrl+s", "stop", "Stop and answer", priority=True),
        Binding("q", "app.quit", "Quit"),
    ]
    CSS = "Frame { height: 1fr; } #note { height: auto; color: $text-muted; padding: 0 1; }"

    def __init__(self, remote: Remote, team: str) -> None:
        super().__init__()
        self.remote = remote
        self.team = team
        self._dirty = False

    def compose(self) -> ComposeResult:
        """The frame, a line about the connection, and a field to say something."""
        yield Frame()
        yield Static(id="note")
        yield Input(placeholder="Say something to the team…", max_length=4000, id="say")
        yield Footer()

    def on_mount(self) -> None:
        """Follow the team."""
        self.run_worker(self._follow())
        self.set_interval(FRAME, self._draw)

    async def _follow(self) -> None:
        board = self.query_one(Frame).board
        try:
            async for told in self.remote.follow(self.team):
                if isinstance(told, str):
                    self._note(told)
                    continue
                if not self._dirty:
                    self._note("")
                board.apply(told)
                self._dirty = True
        except InputError as error:
            give_up(self.app, error)
        except HogwildError as error:
            self._note(str(error))
        self.query_one("#say", Input).disabled = True

    def _draw(self) -> None:
        if self._dirty:
            self._dirty = False
            self.query_one(Frame).refresh()

    def _note(self, told: str) -> None:
        self.query_one("#note", Static).update(Text(text.one_line(told)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Say it."""
        if event.value.strip():
            event.input.clear()
            self.run_worker(self._ask(self.remote.say(self.team, event.value)))

    def action_stop(self) -> None:
        """Ask for the answer now."""
        self.run_worker(self._ask(self.remote.stop(self.team)))

    async def _ask(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except HogwildError as error:
            self._note(str(error))

    def action_back(self) -> None:
        """Go to the list, or end where there is none."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()
        else:
            self.app.switch_screen(TeamsScreen(self.remote))


def give_up(app: App[Any], problem: InputError) -> None:
    """End the application where another try does not help; the command then says why."""
    if isinstance(app, Watch):
        app.problem = problem
    app.exit()


class Watch(App[None]):
    """The application: the list of teams, or the one that was named. ``problem`` is why it ended, if not by wish."""

    TITLE = "hogwild watch"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, remote: Callable[[], Remote], team: str | None = None) -> None:
        super().__init__()
        self._make = remote
        self._team = team
        self._remote: Remote | None = None
        self.problem: InputError | None = None

    def on_mount(self) -> None:
        """Show the first screen."""
        self._remote = remote = self._make()
        self.sub_title = remote.url
        self.push_screen(TeamsScreen(remote) if self._team is None else TeamScreen(remote, self._team))

    async def on_unmount(self) -> None:
        """Close the connections."""
        if self._remote is not None:
            await self._remote.close()
