"""OpenAI's own client and the packaged SmolLM2, over a real connection: what a user of the server does first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from hogwild import Engine, Sampling, Team
from serving import Served, served

pytestmark = pytest.mark.model

MODEL = "smollm2-135m-instruct"
QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(Engine.load(MODEL, dtype="float32", kv_memory=256 << 20), name=None) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> openai.OpenAI:
    return server.openai()


def test_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL, f"hogwild-2/{MODEL}", f"hogwild-4/{MODEL}"]


def test_a_chat_and_its_stream(server: Served, client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    answer = client.chat.completions.create(**asked)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    team = Team(server.engine, QUESTION[0]["content"], 1, budget=24, sampling=Sampling(temperature=0))
    assert answer.choices[0].message.content == "".join(event.text for event in team.run() if event.kind == "token")
    chunks = client.chat.completions.create(**asked, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content


def test_a_team_of_two(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=f"hogwild-2/{MODEL}",
        messages=QUESTION,
        max_tokens=24,
        temperature=0,
        extra_body={"hogwild": {"answer_tokens": 24}},
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.model_dump()["hogwild"]["workers"] == [{"Alice": 24, "Bob": 24}]


def test_n_stop_and_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=24, temperature=0.9, n=3, seed=4, logprobs=True, top_logprobs=5
    )
    assert len({choice.message.content for choice in answer.choices}) > 1
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert "".join(token.token for token in choice.logprobs.content or []) == choice.message.content
    cut = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stop=" Paris")
    assert "Paris" not in (cut.choices[0].message.content or "")
    assert cut.choices[0].finish_reason == "stop"


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="One, two, three, four,", max_tokens=4, temperature=0)
    assert "five" in answer.choices[0].text


def test_json_that_follows_a_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "big": {"type": "boolean"}},
        "required": ["city", "big"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Which city is the capital of France? Answer in JSON."}],
        max_tokens=48,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert isinstance(found["city"], str)
    assert isinstance(found["big"], bool)
