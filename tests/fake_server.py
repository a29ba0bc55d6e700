"""A small stand-in for ``hogwild serve``: the page and the routes that it uses, playing recorded events.

Every team that is started plays the same story at a pace of its own; what is said, who joins and who leaves come into
it as events. Nothing else is true to the real server.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from cli_story import lines, story
from hogwild.server.web import add_page

Told = dict[str, Any]

STORY: list[Told] = [json.loads(line) for line in lines(story(workers=2, steps=2, words=12)).splitlines()]
"""What a team plays in most tests."""


@dataclass
class FakeTeam:
    """A team that plays ``story``; ``events`` is what has happened so far."""

    id: str
    story: list[Told]
    asked: Told
    events: list[Told] = field(default_factory=list)
    state: str = "running"
    stopped: bool = False

    def tell(self, **event: Any) -> None:
        """Let something happen now."""
        last = self.events[-1] if self.events else {"pass": 0, "time": 0.0}
        self.events.append({"pass": last["pass"], "time": last["time"]} | event)

    def summary(self) -> Told:
        """What the list of teams says."""
        begun = self.events[0] if self.events else self.story[0]
        passes = self.events[-1]["pass"] if self.events else 0
        answer = next((event["answer"] for event in self.events if event["kind"] == "finished"), None)
        asked = {"task": self.asked.get("task", begun["task"]), "model": begun["model"], "layout": begun["layout"]}
        numbers = {"budget": begun["budget"], "passes": passes, "created": 0, "workers": begun["workers"]}
        return {"id": self.id, "state": self.state, "answer": answer, **asked, **numbers}


class FakeServer:
    """``app`` is the server; ``teams`` what was started; ``pace`` seconds between events; ``hold`` where it waits."""

    def __init__(self, story: Sequence[Told], *, pace: float = 0.002, key: str = "") -> None:
        self.url = ""
        self.story = list(story)
        self.pace = pace
        self.key = key
        self.hold: int | None = None  # events after which the story waits, until it is None
        self.teams: dict[str, FakeTeam] = {}
        self.requests: list[str] = []
        self.connections = 0  # of event streams, over all time
        self.cut = False  # cut every event stream off, once
        self.app = FastAPI()
        self._routes()
        add_page(self.app)

    async def _play(self, team: FakeTeam) -> None:
        for event in team.story:
            while self.hold is not None and len(team.events) >= self.hold and not team.stopped:
                await asyncio.sleep(0.01)
            if team.stopped and event["kind"] in ("token", "step_started", "step_finished"):
                continue
            if team.state != "running":
                return
            team.events.append(event | ({"task": team.asked["task"]} if event["kind"] == "started" else {}))
            await asyncio.sleep(self.pace)
        team.state = "finished"

    async def _stream(self, team: FakeTeam, after: int) -> AsyncIterator[str]:
        self.connections += 1
        sent = after
        while not self.cut:
            if sent == len(team.events):
                if team.state != "running":
                    return
                await asyncio.sleep(0.01)
                continue
            event = team.events[sent]
            sent += 1
            yield f"id: {sent}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
        self.cut = False

    def _routes(self) -> None:
        app = self.app

        @app.middleware("http")
        async def guard(request: Request, go_on: Any) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            asked = request.url.path.startswith("/v1") and self.key
            if asked and request.headers.get("authorization") != f"Bearer {self.key}":
                return refuse(401, "give an API key")
            return await go_on(request)  # type: ignore[no-any-return]

        @app.get("/v1/models")
        def models() -> Told:
            return {"object": "list", "data": [{"id": name} for name in ("tiny", "hogwild-2/tiny", "hogwild-4/tiny")]}

        @app.get("/v1/teams")
        def teams() -> Told:
            return {"object": "list", "data": [team.summary() for team in reversed(self.teams.values())]}

        @app.post("/v1/teams")
        async def start(asked: Told) -> Response:
            if asked["task"] == "refuse":
                return refuse(400, "task is 'refuse': say what the team should do")
            team = FakeTeam(f"team-{len(self.teams) + 1}", self.story, asked)
            self.teams[team.id] = team
            self._task = asyncio.get_running_loop().create_task(self._play(team))
            return JSONResponse(team.summary(), 201)

        self._team_routes(app)

    def _team_routes(self, app: FastAPI) -> None:
        @app.get("/v1/teams/{team}")
        def one(team: str) -> Response:
            return JSONResponse(self.teams[team].summary()) if team in self.teams else refuse(404, "no such team")

        @app.get("/v1/teams/{team}/events")
        async def events(team: str, request: Request) -> Response:
            if team not in self.teams:
                return refuse(404, "no such team")
            after = int(request.headers.get("last-event-id", "0"))
            return StreamingResponse(self._stream(self.teams[team], after), media_type="text/event-stream")

        @app.post("/v1/teams/{team}/say")
        def say(team: str, message: Told) -> Told:
            self.teams[team].tell(kind="said", name=message.get("name", "You"), text=message["text"])
            return {}

        @app.post("/v1/teams/{team}/tools/{call}")
        def give(team: str, call: str, result: Told) -> Told:
            self.teams[team].tell(kind="tool_returned", worker="Alice", step=1, call=call, result=result["result"])
            return {}

        @app.post("/v1/teams/{team}/stop")
        def stop(team: str) -> Told:
            self.teams[team].stopped = True
            return {}

        @app.delete("/v1/teams/{team}")
        def cancel(team: str) -> Told:
            self.teams[team].tell(kind="cancelled")
            self.teams[team].state = "cancelled"
            return {}

        @app.post("/v1/teams/{team}/workers")
        def join(team: str, worker: Told) -> Told:
            self.teams[team].tell(kind="worker_joined", worker=worker["name"])
            self.teams[team].tell(kind="step_started", worker=worker["name"], step=1, text="Hello. ")
            return {}

        @app.delete("/v1/teams/{team}/workers/{name}")
        def leave(team: str, name: str) -> Told:
            self.teams[team].tell(kind="worker_left", worker=name, reason="asked")
            return {}


def refuse(status: int, message: str) -> Response:
    """An error in OpenAI's shape."""
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve on a free port of the loopback address; gives the address of the server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
