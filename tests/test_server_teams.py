"""Teams over HTTP: started, followed, talked to, stopped; their events can be read again from any place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import scripted
from hogwild.team.trace import read_trace
from serving import Served, events, served, until, use_prompts


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch, prompt: Path) -> None:
    use_prompts(monkeypatch, prompt)


@pytest.fixture
def server() -> Iterator[Served]:
    """Workers that write ``x`` without end, 200 tokens a second."""
    engine = scripted({"Alice": ["One.\n\n", "Two.\n\n"], "Bob": ["Three.\n\n"]}, answer="done")
    engine.hook = lambda: time.sleep(0.005)
    with served(engine, max_workers=3) as running:
        yield running


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


def start(http: httpx.Client, **body: Any) -> str:
    answer = http.post("/v1/teams", json={"task": "Count.", "budget": 2000} | body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/teams/{answer.json()['id']}"
    team: str = answer.json()["id"]
    return team


def state(http: httpx.Client, team: str) -> dict[str, Any]:
    answer = http.get(f"/v1/teams/{team}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def running(http: httpx.Client, **body: Any) -> str:
    team = start(http, **body)
    until(lambda: state(http, team)["passes"] > 3)
    return team


def test_from_start_to_finish(server: Served, http: httpx.Client, tmp_path: Path) -> None:
    team = start(http, budget=40, names=["Alice", "Bob"], layout="contiguous", seed=3)
    seen = events(http.get(f"/v1/teams/{team}/events").text)
    assert seen[0]["kind"] == "started"
    assert seen[0]["seeds"] == [3, 3]
    assert seen[-1]["kind"] == "finished"
    found = state(http, team)
    assert found["state"] == "finished"
    assert (found["task"], found["model"], found["layout"], found["budget"]) == ("Count.", "tiny", "contiguous", 40)
    assert found["workers"] == ["Alice", "Bob"]
    assert found["tokens"] == seen[-1]["tokens"]
    assert found["text"] == seen[-1]["text"]
    assert [(step["worker"], step["step"]) for step in found["steps"]] == [
        (event["worker"], event["step"]) for event in seen if event["kind"] == "step_finished"
    ]
    trace = http.get(f"/v1/teams/{team}/trace")
    assert trace.headers["content-type"] == "application/jsonl"
    (tmp_path / "team.jsonl").write_bytes(trace.content)
    assert [event.kind for event in read_trace(tmp_path / "team.jsonl")] == [event["kind"] for event in seen]


def test_the_list_has_the_newest_first(http: httpx.Client) -> None:
    first = start(http, budget=5)
    second = start(http, task="Again.", budget=5, model="hogwild-3/tiny")
    listed = http.get("/v1/teams").json()
    assert listed["object"] == "list"
    assert [team["id"] for team in listed["data"]] == [second, first]
    assert listed["data"][0]["workers"] == ["Alice", "Bob", "Carol"]


def test_a_stream_resumes_after_any_event(http: httpx.Client) -> None:
    team = start(http, budget=20)
    whole = http.get(f"/v1/teams/{team}/events").text
    numbers = [int(line.removeprefix("id: ")) for line in whole.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1))
    for after in (0, 1, 7, numbers[-1] - 1, numbers[-1], numbers[-1] + 5):
        rest = events(http.get(f"/v1/teams/{team}/events", headers={"Last-Event-ID": str(after)}).text)
        assert rest == events(whole)[after:]
        assert events(http.get(f"/v1/teams/{team}/events", params={"after": after}).text) == rest
    assert http.get(f"/v1/teams/{team}/events", headers={"Last-Event-ID": "x"}).status_code == 400


def test_a_broken_connection_loses_nothing(http: httpx.Client) -> None:
    team, seen = start(http, budget=60), list[str]()
    while not seen or '"finished"' not in seen[-1]:
        with http.stream("GET", f"/v1/teams/{team}/events", params={"after": len(seen)}) as response:
            lines = (line for line in response.iter_lines() if line.startswith("data: "))
            seen += islice(lines, 25)
    assert seen == [line for line in http.get(f"/v1/teams/{team}/events").text.splitlines() if line[:5] == "data:"]


def test_a_silent_stream_shows_that_it_lives(http: httpx.Client, server: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr("hogwild.server.routes.events.KEEP_ALIVE", 0.05)
    server.engine.hook = lambda: time.sleep(0.12)  # type: ignore[attr-defined]
    assert "\n\n: still here\n\n" in http.get(f"/v1/teams/{start(http, budget=3)}/events").text


def test_views_add_up_to_what_is_seen(http: httpx.Client) -> None:
    views = state(http, running(http))["views"]
    assert set(views) == {"Alice", "Bob"}
    assert {piece["kind"] for view in views.values() for piece in view} >= {"prompt", "step"}
    assert all(piece["tokens"] > 0 for view in views.values() for piece in view)


def test_a_person_talks_to_it(http: httpx.Client) -> None:
    team = running(http)
    assert http.post(f"/v1/teams/{team}/say", json={"text": "Hurry up", "name": "Eve"}).status_code == 202
    assert http.post(f"/v1/teams/{team}/workers", json={"name": "Zoe", "prompt": "Help."}).status_code == 202
    until(lambda: "Zoe" in state(http, team)["workers"])
    assert http.post(f"/v1/teams/{team}/workers", json={"name": "Yann"}).status_code == 400  # three at most
    assert http.delete(f"/v1/teams/{team}/workers/Bob").status_code == 202
    assert http.delete(f"/v1/teams/{team}/workers/Nobody").status_code == 404
    assert http.post(f"/v1/teams/{team}/say", json={"text": " "}).status_code == 400
    assert http.post(f"/v1/teams/{team}/say", json={"text": "x", "name": "Alice"}).status_code == 400
    assert http.post(f"/v1/teams/{team}/stop").status_code == 202
    seen = events(http.get(f"/v1/teams/{team}/events").text)
    said = next(event for event in seen if event["kind"] == "said")
    assert (said["name"], said["text"]) == ("Eve", "Hurry up")
    assert [event["worker"] for event in seen if event["kind"] == "worker_joined"] == ["Zoe"]
    assert [event["worker"] for event in seen if event["kind"] == "worker_left"] == ["Bob"]
    assert seen[-1]["reason"] == "stopped"
    assert seen[-1]["text"]
    for path in ("say", "stop", "workers"):
        body = {"text": "x", "name": "y"} if path != "workers" else {"name": "y"}
        assert http.post(f"/v1/teams/{team}/{path}", json=body).status_code == 409


def test_delete_stops_at_once_and_then_forgets(server: Served, http: httpx.Client) -> None:
    team = running(http)
    assert server.engine.pool.used_pages > 0
    assert http.delete(f"/v1/teams/{team}").json()["deleted"] is False
    until(lambda: server.engine.pool.used_pages == 0)
    seen = events(http.get(f"/v1/teams/{team}/events").text)
    assert seen[-1]["kind"] == "cancelled"
    assert state(http, team)["error"]["code"] == "cancelled"
    assert http.delete(f"/v1/teams/{team}").json()["deleted"] is True
    assert http.get(f"/v1/teams/{team}").status_code == 404


def test_a_time_limit_ends_it(http: httpx.Client, server: Served) -> None:
    engine = scripted()
    engine.hook = lambda: time.sleep(0.01)
    with served(engine, request_seconds=0.3) as limited, limited.http() as client:
        team = start(client)
        assert events(client.get(f"/v1/teams/{team}/events").text)[-1]["kind"] == "failed"
        assert state(client, team)["state"] == "expired"
        until(lambda: engine.pool.used_pages == 0)


def test_only_so_many_that_have_ended_are_kept(server: Served) -> None:
    with served(scripted(), keep_teams=2) as small, small.http() as client:
        teams = list[str]()
        for _ in range(5):
            teams.append(start(client, budget=2))
            until(lambda: state(client, teams[-1])["state"] == "finished")
        assert [team["id"] for team in client.get("/v1/teams").json()["data"]] == [teams[-1], teams[-2]]
    with served(scripted(), keep_seconds=0.0) as short, short.http() as client:
        team = start(client, budget=2)
        client.get(f"/v1/teams/{team}/events")
        until(lambda: client.get("/v1/teams").json()["data"] == [])


def test_a_completion_is_among_the_teams_while_it_runs(server: Served, http: httpx.Client) -> None:
    body = {"model": "hogwild-2/tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
    with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as answer:
        (listed,) = http.get("/v1/teams").json()["data"]
        assert listed["state"] == "running"
        assert http.post(f"/v1/teams/{listed['id']}/workers", json={"name": "Zoe"}).status_code == 409
        assert http.post(f"/v1/teams/{listed['id']}/stop").status_code == 202
        chunks = events(answer.read().decode())
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert http.get("/v1/teams").json()["data"] == []
