"""Keys, limits, names, logs, metrics: what stands between a request and the routes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import httpx
import pytest

from fakes import scripted, tiny_team_engine
from hogwild.errors import OptionError
from hogwild.schedule import Scheduler
from hogwild.server.gate import key_of
from hogwild.server.logs import JsonLines
from hogwild.server.settings import ServerSettings
from serving import Served, served, until

ONE, TWO = "first-secret-key", "second-secret-key"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
TEAM = {"task": "Go.", "budget": 2000}


@pytest.fixture
def server() -> Iterator[Served]:
    engine = scripted()
    engine.hook = lambda: time.sleep(0.005)
    with served(engine, api_keys=(ONE, TWO), max_open=2, hosts=("127.0.0.1",), cors=("https://a.example",)) as running:
        yield running


def test_any_of_the_keys_opens_everything_and_nothing_else_does(server: Served) -> None:
    paths = ("/v1/models", "/v1/teams", "/metrics", "/version", "/openapi.json", "/v1/nothing", "/docs")
    for key in (None, "wrong-secret-key", ONE[:-1], ONE + "x", ""):
        with server.http(key) as http:
            for path in paths:
                answer = http.get(path)
                assert answer.status_code == 401, path
                assert answer.json()["error"]["type"] == "authentication_error"
                assert answer.headers["www-authenticate"] == "Bearer"
            assert http.post("/v1/chat/completions", json=CHAT).status_code == 401
            assert http.get("/health").status_code == 200
    for key in (ONE, TWO):
        with server.http(key) as http:
            assert [http.get(path).status_code for path in paths] == [200] * 5 + [404] * 2


@pytest.mark.parametrize("header", [None, "", ONE, f"Basic {ONE}", "Bearer", f"Bearer {ONE} {ONE}", "Bearer \xe9"])
def test_what_is_no_key(header: str | None) -> None:
    assert key_of(header, [ONE, TWO]) is None


def test_a_keys_name_does_not_tell_the_key() -> None:
    names = {key_of(f"bearer {key}", [ONE, TWO]) for key in (ONE, TWO)}
    assert len(names) == 2
    assert not any(name is None or key in name for name in names for key in (ONE, TWO))


def test_a_key_never_sees_anothers_teams(server: Served) -> None:
    with server.http(ONE) as mine, server.http(TWO) as other:
        team = mine.post("/v1/teams", json=TEAM).json()["id"]
        assert [one["id"] for one in mine.get("/v1/teams").json()["data"]] == [team]
        assert other.get("/v1/teams").json()["data"] == []
        for method, path in (
            ("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/trace"), ("POST", "/stop"),
            ("DELETE", "/workers/Alice"),
        ):  # fmt: skip
            assert other.request(method, f"/v1/teams/{team}{path}").status_code == 404
        assert other.post(f"/v1/teams/{team}/say", json={"text": "x"}).status_code == 404
        assert other.post(f"/v1/teams/{team}/workers", json={"name": "x"}).status_code == 404
        assert other.post(f"/v1/teams/{team}/tools/1", json={"result": "x"}).status_code == 404
        assert mine.get(f"/v1/teams/{team}").json()["state"] in ("queued", "running")
        assert mine.delete(f"/v1/teams/{team}").status_code == 200


def test_a_key_has_so_many_open_teams(server: Served) -> None:
    with server.http(ONE) as http, server.http(TWO) as other:
        teams = [http.post("/v1/teams", json=TEAM).json()["id"] for _ in range(2)]
        for answer in (http.post("/v1/teams", json=TEAM), http.post("/v1/chat/completions", json=CHAT)):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["error"]["type"] == "rate_limit_error"
        never = other.post("/v1/chat/completions", json=CHAT | {"n": 3})  # waiting would not help
        assert never.status_code == 400
        assert never.json()["error"]["param"] == "n"
        started = other.post("/v1/teams", json=TEAM)
        assert started.status_code == 201
        other.delete(f"/v1/teams/{started.json()['id']}")
        for team in teams:
            http.delete(f"/v1/teams/{team}")
        until(lambda: http.post("/v1/chat/completions", json=CHAT).status_code == 200)


def test_a_full_queue_is_503_and_so_is_one_that_takes_too_long() -> None:
    engine = scripted()
    engine.hook = lambda: time.sleep(0.01)
    scheduler = Scheduler(engine, max_teams=1, queue_limit=1, queue_seconds=0.5)
    with served(engine, scheduler) as full, full.http() as http:
        first = http.post("/v1/teams", json=TEAM).json()["id"]
        until(lambda: http.get(f"/v1/teams/{first}").json()["state"] == "running")
        second = http.post("/v1/teams", json=TEAM).json()["id"]
        answer = http.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "overloaded"
        assert [team["id"] for team in http.get("/v1/teams").json()["data"]] == [second, first]
        until(lambda: http.get(f"/v1/teams/{second}").json()["state"] == "expired")
        for stream in (False, True):  # the status tells, whether it was to be streamed or not
            answer = http.post("/v1/chat/completions", json=CHAT | {"stream": stream})
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "expired"
        assert http.delete(f"/v1/teams/{first}").status_code == 200


def test_other_names_are_not_answered(server: Served) -> None:
    with server.http(ONE) as http:
        assert http.get("/health", headers={"Host": "evil.example"}).json()["error"]["code"] == "wrong_host"
        assert http.get("/health", headers={"Host": "127.0.0.1"}).status_code == 200


def test_cors_is_for_the_named_sites_only(server: Served) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with server.http() as http:
        good = http.options("/v1/teams", headers=asked | {"Origin": "https://a.example"})
        assert good.headers["access-control-allow-origin"] == "https://a.example"
        assert "access-control-allow-origin" not in http.get("/health", headers={"Origin": "https://b.example"}).headers
    with served(tiny_team_engine()) as plain, plain.http() as http:
        for answer in (http.options("/v1/teams", headers=asked | {"Origin": "https://a.example"}), http.get("/health")):
            assert "access-control-allow-origin" not in answer.headers


def test_the_log_has_ids_and_counts_but_no_text(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hogwild.server")
    body = CHAT | {"messages": [{"role": "user", "content": "my diary"}], "user": "u-7"}
    with server.http(ONE) as http:
        answer = http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        odd = http.get("/v1/teams", headers={"X-Request-Id": "a b"}).headers["x-request-id"]
        assert odd.isalnum()
    until(lambda: len(caplog.records) >= 2)
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == "hogwild.server"]
    chat = next(line for line in lines if line["request"] == "mine-1")
    assert chat["path"] == "/v1/chat/completions"
    assert chat["status"] == 200
    assert chat["user"] == "u-7"
    assert chat["key"].startswith("key-")
    assert chat["prompt_tokens"] > 0
    assert "diary" not in str(lines)
    assert ONE not in str(lines)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", CHAT),
        ("completions", {"model": "tiny", "prompt": ["Go", "on"], "max_tokens": 2}),
        ("responses", {"model": "tiny", "input": "Hi", "max_output_tokens": 2}),
    ],
)
def test_the_log_has_the_tokens_of_every_kind_of_answer(
    server: Served, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, object], stream: bool
) -> None:
    caplog.set_level(logging.INFO, "hogwild.server")
    with server.http(ONE) as http:
        assert http.post(f"/v1/{path}", json=body | {"stream": stream}).status_code == 200
    until(lambda: caplog.records)
    fields = vars(caplog.records[0])["fields"]
    assert fields["completion_tokens"] == fields["passes"] == 2 * len(fields["teams"])
    assert fields["prompt_tokens"] > 0


def test_texts_are_logged_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hogwild.server")
    with served(scripted(), log_text=True) as talkative, talkative.http() as http:
        http.post("/v1/chat/completions", json=CHAT)
    assert any("Hi" in JsonLines().format(record) for record in caplog.records)


def test_metrics(server: Served) -> None:
    with server.http(ONE) as http:
        http.post("/v1/chat/completions", json=CHAT | {"model": "hogwild-2/tiny"})
        text = http.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['hogwild_tokens_total{worker="0"}']) == 2
    assert float(lines['hogwild_tokens_total{worker="1"}']) == 2
    assert float(lines["hogwild_time_to_first_token_seconds_count"]) == 1
    assert float(lines["hogwild_inter_token_seconds_count"]) == 2
    assert float(lines['hogwild_requests_total{path="/v1/chat/completions",status="200"}']) == 1
    assert float(lines['hogwild_teams_total{reason="budget",state="finished"}']) == 1


def test_openapi_is_complete(server: Served) -> None:
    with server.http(ONE) as http:
        document = http.get("/openapi.json").json()
    paths = {
        "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models", "/v1/models/{model}", "/v1/teams",
        "/v1/teams/{team}", "/v1/teams/{team}/events", "/v1/teams/{team}/say", "/v1/teams/{team}/stop",
        "/v1/teams/{team}/workers", "/v1/teams/{team}/workers/{name}", "/v1/teams/{team}/tools/{call}",
        "/v1/teams/{team}/trace", "/health", "/version", "/metrics",
    }  # fmt: skip
    assert set(document["paths"]) == paths
    assert all(one.get("description") for methods in document["paths"].values() for one in methods.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_keys": ("short",)}, {"api_keys": ("sécret-key",)}, {"max_body": 0}, {"max_workers": 17},
        {"workers_default": 9}, {"budget_default": 5000}, {"grace": -1.0}, {"request_seconds": 0.0},
        {"keep_seconds": float("nan")},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        ServerSettings(**wrong)  # type: ignore[arg-type]


def test_health_tells_that_it_stops(server: Served) -> None:
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/health").json() == {"status": "ok"}
        server.service.stopping = True
        assert http.get("/health").status_code == 503
        server.service.stopping = False
