"""Tools over HTTP: one worker calls them as OpenAI's API has it; a team's worker waits while the others go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import openai
import pytest

from fakes import make_tokenizer, scripted
from serving import Served, events, served, until, use_prompts
from templates import HERMES
from test_tools_team import ALICE

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds four.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
QUESTION: list[Any] = [{"role": "user", "content": "What is 3 and 4?"}]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, prompt: Path) -> Iterator[Served]:
    """Alice calls a tool in her first step."""
    use_prompts(monkeypatch, prompt)
    engine = scripted({"Alice": ALICE, "Bob": ["b" * 400 + ".\n\n"]}, tokenizer=make_tokenizer(template=HERMES))
    engine.hook = lambda: time.sleep(0.002)
    with served(engine) as running:
        yield running


@pytest.fixture
def client(server: Served) -> openai.OpenAI:
    return server.openai()


def test_one_worker_calls_and_its_client_answers(server: Served, client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "tools": [TOOL], "max_tokens": 200, "temperature": 0}
    (choice,) = client.chat.completions.create(messages=QUESTION, **asked).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see. "
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 3})
    until(lambda: server.engine.pool.used_pages == 0)
    turns = [
        *QUESTION,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "7"},
    ]
    again = client.chat.completions.create(messages=turns, **asked | {"max_tokens": 3})
    assert again.usage is not None
    before = client.chat.completions.create(messages=QUESTION, **asked | {"max_tokens": 3})
    assert before.usage is not None
    assert again.usage.prompt_tokens > before.usage.prompt_tokens + len("<tool_response>7</tool_response>")


def test_a_call_streams(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=QUESTION, tools=[TOOL], max_tokens=200, temperature=0, stream=True
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    (call,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert text == "Let me see. "
    assert call.index == 0
    assert call.function is not None
    assert (call.function.name, call.function.arguments) == ("add", '{"a": 3}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_no_tool_is_called_where_none_may_be(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=QUESTION, tools=[TOOL], tool_choice="none", max_tokens=20, temperature=0
    )
    assert answer.choices[0].message.tool_calls is None
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        client.chat.completions.create(model="tiny", messages=QUESTION, tools=[TOOL], tool_choice="required")
    with pytest.raises(openai.BadRequestError, match="POST /v1/teams"):
        client.chat.completions.create(model="hogwild-2/tiny", messages=QUESTION, tools=[TOOL])


def test_a_teams_worker_waits_for_the_result(server: Served) -> None:
    with server.http() as http:
        body = {"task": "What is 3 and 4?", "tools": [TOOL], "budget": 300, "temperature": 0}
        team = http.post("/v1/teams", json=body).json()["id"]
        with http.stream("GET", f"/v1/teams/{team}/events") as answer:
            lines = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
            call = next(event for event in lines if event["kind"] == "tool_called")
            others = [event["worker"] for event in islice((e for e in lines if e["kind"] == "token"), 20)]
        assert set(others) == {"Bob"}
        assert http.post(f"/v1/teams/{team}/tools/nothing", json={"result": "7"}).status_code == 400
        assert http.post(f"/v1/teams/{team}/tools/{call['call']}", json={"result": "7"}).status_code == 202
        seen = events(http.get(f"/v1/teams/{team}/events").text)
    returned = next(event for event in seen if event["kind"] == "tool_returned")
    assert (returned["worker"], returned["result"]) == ("Alice", "7")
    assert any(event["kind"] == "step_finished" and "It is 7." in event["text"] for event in seen)
