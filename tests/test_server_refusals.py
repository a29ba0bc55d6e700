"""What cannot be is refused by name, in OpenAI's shape, and never with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fakes import tiny_team_engine
from serving import Served, served

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(
        tiny_team_engine(), max_body=20_000, max_messages=4, max_workers=3, max_budget=50, budget_default=20
    ) as s:
        yield s


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert "Traceback" not in response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = body["error"]
    return found


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"functions": []}, "functions"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"store": True}, "store"),
        ({"hogwild": {"wrokers": 2}}, "hogwild.wrokers"),
        ({"hogwild": {"workers": 2, "layout": "round"}}, "hogwild.layout"),
        ({"hogwild": {"workers": 4}}, "hogwild.workers"),
        ({"hogwild": {"workers": 2, "names": ["Ada"]}}, "names"),
        ({"hogwild": {"seeds": [1, 2]}}, "hogwild.seeds"),
        ({"hogwild": {"answer": "number"}}, "hogwild.answer"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e-9}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"stop": ""}, "stop"),
        ({"max_tokens": 51}, "budget"),
        ({"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": CHAT["messages"] * 5}, "messages"),  # type: ignore[operator]
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_by_name(server: Served, more: dict[str, Any], param: str) -> None:
    with server.http() as http:
        found = error(http.post("/v1/chat/completions", json=CHAT | more), 400)
    assert found["type"] == "invalid_request_error"
    assert found["param"] == param
    assert param in found["message"]


@pytest.mark.parametrize("field", ["suffix", "echo", "best_of", "logit_bias"])
def test_completions_refuse_by_name(server: Served, field: str) -> None:
    body = {"model": "tiny", "prompt": "x", field: {"suffix": "y", "echo": True, "best_of": 2}.get(field, {})}
    with server.http() as http:
        assert error(http.post("/v1/completions", json=body), 400)["param"] == field


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "background", "include", "tools"])
def test_responses_refuse_what_has_a_state(server: Served, field: str) -> None:
    with server.http() as http:
        assert (
            error(http.post("/v1/responses", json={"model": "tiny", "input": "x", field: "y"}), 400)["param"] == field
        )


def test_null_is_the_same_as_nothing(server: Served) -> None:
    nothing = {"logit_bias": None, "tools": None, "stop": None, "hogwild": None, "temperature": None}
    with server.http() as http:
        assert http.post("/v1/chat/completions", json=CHAT | nothing).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 9_000, b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"{}"])
def test_a_body_that_is_none(server: Served, body: bytes) -> None:
    with server.http() as http:
        error(http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}), 400)


def test_half_a_character_is_no_crash(server: Served) -> None:
    headers = {"Content-Type": "application/json"}
    with server.http() as http:
        text = r'{"model": "tiny", "max_tokens": 2, "messages": [{"role": "user", "content": "\ud800"}]}'
        assert http.post("/v1/chat/completions", content=text, headers=headers).status_code == 200
        error(http.post("/v1/chat/completions", content=r'{"\ud800": 1}', headers=headers), 400)


def test_a_large_body_is_refused_before_it_is_read(server: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 1_000

    with server.http() as http:
        headers = {"Content-Type": "application/json"}
        error(http.post("/v1/teams", content=b" " * 20_001, headers=headers), 413)
        error(http.post("/v1/teams", content=pieces(), headers=headers), 413)


def test_other_content_types_are_refused(server: Served) -> None:
    """A page of another site can send a form without asking, but no JSON."""
    with server.http() as http:
        error(http.post("/v1/teams", content=b'{"task": "x"}', headers={"Content-Type": "text/plain"}), 400)


def test_unknown_paths_methods_models_and_teams(server: Served) -> None:
    with server.http() as http:
        error(http.get("/v1/nothing"), 404)
        error(http.put("/v1/teams"), 405)
        assert error(http.post("/v1/chat/completions", json=CHAT | {"model": "gpt"}), 404)["code"] == "model_not_found"
        assert error(http.get("/v1/teams/team-1"), 404)["param"] == "team"
        error(http.get("/v1/teams/team-1/events"), 404)


def test_a_task_that_never_fits(server: Served) -> None:
    with server.http() as http:
        body = CHAT | {"messages": [{"role": "user", "content": "word " * 900}]}
        assert "positions" in error(http.post("/v1/chat/completions", json=body), 400)["message"]


def test_what_nobody_expected_is_told_without_its_words(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(server.service, "records", broken)
    with server.http() as http:
        found = error(http.get("/v1/teams"), 500)
    assert found["type"] == "server_error"
    assert "secret" not in found["message"]
