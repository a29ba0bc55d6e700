"""Clients that leave, read slowly, send half a request; and the end of the server."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import ScriptedEngine, scripted
from hogwild.server import gate, run
from serving import Served, events, served, until, use_prompts

CHAT = {"model": "hogwild-2/tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2000}


def endless() -> ScriptedEngine:
    """Two workers write without end, 200 passes a second at most."""
    engine = scripted(answer="done")
    engine.hook = lambda: time.sleep(0.005)
    return engine


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch, prompt: Path) -> None:
    use_prompts(monkeypatch, prompt)


@pytest.fixture
def server() -> Iterator[Served]:
    with served(endless()) as running:
        yield running


def busy(server: Served) -> None:
    """Wait until a team is writing."""
    until(lambda: any(record.team.passes > 3 for record in server.service.records("")))


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"n": 3}, {"n": 3, "stream": True}])
def test_a_client_that_leaves_takes_its_team_along(
    server: Served, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hogwild.server")
    connection = server.raw(server.post("/v1/chat/completions", CHAT | more))
    busy(server)
    teams = [record.team for record in server.service.records("")]
    assert server.engine.pool.used_pages > 0
    connection.close()
    until(lambda: server.engine.pool.used_pages == 0)
    assert all(team.passes < 1000 for team in teams)
    assert server.service.records("") == []
    until(lambda: caplog.records)
    assert [vars(record)["fields"]["status"] for record in caplog.records] == [200 if more.get("stream") else 499]
    with server.http() as http:  # and the next one is served
        assert http.post("/v1/chat/completions", json=CHAT | {"max_tokens": 2}).status_code == 200


def test_a_client_that_leaves_a_queue(server: Served) -> None:
    first = server.raw(server.post("/v1/chat/completions", CHAT))
    busy(server)
    second = server.raw(server.post("/v1/chat/completions", CHAT | {"stream": True}))
    until(lambda: len(server.service.records("")) == 2)
    second.close()
    until(lambda: len(server.service.records("")) == 1)
    first.close()
    until(lambda: server.engine.pool.used_pages == 0)


def test_a_reader_of_events_that_leaves_does_not_stop_the_team(server: Served) -> None:
    with server.http() as http:
        team = http.post("/v1/teams", json={"task": "Go.", "budget": 60}).json()["id"]
        with http.stream("GET", f"/v1/teams/{team}/events") as answer:
            next(answer.iter_lines())
        assert events(http.get(f"/v1/teams/{team}/events").text)[-1]["kind"] == "finished"


def test_a_slow_reader_stalls_nobody(server: Served) -> None:
    """It reads nothing at all; the team runs to its end, and others are served meanwhile."""
    with server.http() as http:
        team = http.post("/v1/teams", json={"task": "Go.", "budget": 900}).json()["id"]
        head = f"GET /v1/teams/{team}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        readers = [server.raw(head.encode()) for _ in range(5)]
        until(lambda: http.get(f"/v1/teams/{team}").json()["state"] == "finished", 60)
        assert http.get("/health").status_code == 200
        assert server.engine.pool.used_pages == 0
        text = b""
        while b"event: finished" not in text and (piece := readers[0].recv(1 << 16)):
            text += piece
        assert b"event: finished" in text  # it lost nothing
        for reader in readers:
            reader.close()


def test_half_a_request_holds_nobody_up(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.3)
    silent, head = server.raw(), server.raw(b"POST /v1/teams HTTP/1.1\r\nHost:")
    body = server.raw(server.post("/v1/teams", {"task": "Go."})[:-3])
    with server.http() as http:
        assert http.get("/health").status_code == 200
    assert silent.recv(100) == b""
    assert head.recv(100) == b""
    assert body.recv(1000).startswith(b"HTTP/1.1 408")
    for connection in (silent, head, body):
        connection.close()


def test_a_killed_client_is_one_that_leaves(server: Served) -> None:
    """The system closes a dead process's sockets, with a reset where something was not read."""
    connection = server.raw(server.post("/v1/chat/completions", CHAT | {"stream": True}))
    busy(server)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    until(lambda: server.engine.pool.used_pages == 0)


def test_no_client_makes_another_team_miss_a_pass() -> None:
    """Killed clients, one that never reads, half a request, and a page that is loaded again and again."""
    engine, seen = endless(), list[int]()
    with served(engine) as server, server.http() as http:
        team = http.post("/v1/teams", json={"task": "Go.", "budget": 300}).json()["id"]
        watched = server.service.record(team, "").team
        pause = engine.hook

        def note() -> None:
            seen.append(watched.passes)
            pause()

        engine.hook = note
        head = f"GET /v1/teams/{team}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        held = [server.raw(head), server.raw(), server.raw(server.post("/v1/teams", {"task": "Go."})[:-3])]
        last = 0
        while http.get(f"/v1/teams/{team}").json()["state"] == "running":
            killed = server.raw(server.post("/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 50}))
            with http.stream("GET", f"/v1/teams/{team}/events", headers={"Last-Event-ID": str(last)}) as page:
                ids = (line for line in page.iter_lines() if line.startswith("id: "))
                last = int(next(ids).removeprefix("id: "))
            killed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            killed.close()
        assert last > 0
        for connection in held:
            connection.close()
        until(lambda: engine.pool.used_pages == 0)
    assert server.service.scheduler.stats.admitted > 5  # the others were in its passes
    begun, end = seen.index(1), seen.index(max(seen))
    assert max(seen) >= 299
    assert max(len(list(same)) for _, same in groupby(seen[begun:end])) <= 2


def test_running_teams_answer_when_the_server_stops() -> None:
    engine, answers = endless(), list[httpx.Response]()
    with served(engine) as server:

        def ask() -> None:
            with server.http() as http:
                answers.append(http.post("/v1/chat/completions", json=CHAT))

        asking = threading.Thread(target=ask)
        asking.start()
        busy(server)
        connections = [server.raw() for _ in range(2)]
        server.server.should_exit = True
        asking.join(30)
        for connection in connections:
            connection.close()
    (answer,) = answers
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    with suppress(httpx.ConnectError), httpx.Client(base_url=server.url) as http:
        http.get("/health")
        pytest.fail("it still listens")
