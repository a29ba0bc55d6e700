"""Chat completions, by OpenAI's own client against a real server, on a tiny random model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fakes import tiny_team_engine
from hogwild import Sampling, Team
from serving import Served, served

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
SHORT = {"hogwild": {"answer_tokens": 6}}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(tiny_team_engine()) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> openai.OpenAI:
    return server.openai()


def alone(server: Served, task: Any, **options: Any) -> str:
    """What a team of one writes without a server."""
    team = Team(server.engine, task, 1, sampling=Sampling(temperature=0), **options)
    return "".join(event.text for event in team.run() if event.kind == "token")


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "hogwild-2/tiny", "hogwild-4/tiny"]
    assert client.models.retrieve("hogwild-3/tiny").id == "hogwild-3/tiny"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.models.retrieve("gpt")


def test_one_worker_is_an_ordinary_request(server: Served, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == alone(server, "Say hello.", budget=12)
    assert choice.finish_reason == "length"
    assert "reasoning_content" not in choice.message.model_dump()
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12
    assert answer.usage.model_dump()["hogwild"] == {"workers": [{"Alice": 12}], "answer": [0], "passes": 12}


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_several_workers_think_and_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="hogwild-2/tiny", messages=HELLO, max_tokens=8, temperature=0, extra_body=SHORT
    )
    message = answer.choices[0].message
    assert message.content
    thoughts = message.model_dump()["reasoning_content"]
    assert "Alice [1]:" in thoughts
    assert "Bob [1]:" in thoughts
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 16
    assert answer.usage.model_dump()["hogwild"]["passes"] == 8


def test_thoughts_stream_with_worker_step_and_pass(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="hogwild-3/tiny", messages=HELLO, max_tokens=8, temperature=0, stream=True, extra_body=SHORT
    )
    workers, content, phases = set(), "", []
    for chunk in chunks:
        delta = chunk.choices[0].delta.model_dump(exclude_unset=True)
        if "reasoning_content" in delta:
            assert delta["reasoning"] == delta["reasoning_content"]
            assert delta["hogwild"]["step"] >= 1
            assert 0 <= delta["hogwild"]["pass"] <= 8
            workers.add(delta["hogwild"]["worker"])
            phases.append("thought")
        elif delta.get("content"):
            content += delta["content"]
            phases.append("answer")
    assert workers == {"Alice", "Bob", "Carol"}
    assert phases == sorted(phases, reverse=True)
    assert content


def test_the_extension_makes_the_team(client: openai.OpenAI) -> None:
    asked = {"workers": 2, "names": ["Ada", "Bo"], "layout": "interleaved", "budget": 5, "prompts": ["Be brief.", ""]}
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, temperature=0, extra_body={"hogwild": asked | {"answer_tokens": 4}}
    )
    assert answer.usage is not None
    assert answer.usage.model_dump()["hogwild"]["workers"] == [{"Ada": 5, "Bo": 5}]


def test_n_are_teams_with_seeds_of_their_own(server: Served, client: openai.OpenAI) -> None:
    both = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=9, temperature=1, n=2, seed=5)
    one = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=9, temperature=1, seed=6)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].message.content != both.choices[1].message.content
    assert both.choices[1].message.content == one.choices[0].message.content
    assert one.usage is not None
    assert both.usage is not None
    assert both.usage.prompt_tokens == one.usage.prompt_tokens
    seeded = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=9, temperature=1, n=2, extra_body={"hogwild": {"seeds": [6, 5]}}
    )
    assert [one.message.content for one in seeded.choices] == [one.message.content for one in reversed(both.choices)]


def test_choices_stream_side_by_side(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=9, temperature=1, n=3, seed=1)
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=9, temperature=1, n=3, seed=1, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_stop_ends_the_answer_ahead_of_the_text(server: Served, client: openai.OpenAI) -> None:
    text = alone(server, "Say hello.", budget=30)
    stop = text[10:12]
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=30, temperature=0, stop=[stop])
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_stop_cuts_the_answer_of_several_workers(client: openai.OpenAI) -> None:
    def ask(**more: Any) -> Any:
        return client.chat.completions.create(
            model="hogwild-2/tiny", messages=HELLO, max_tokens=6, temperature=0, extra_body=SHORT, **more
        ).choices[0]

    whole = ask()
    cut = ask(stop=whole.message.content[2:4])
    assert cut.message.content == whole.message.content[: whole.message.content.index(whole.message.content[2:4])]
    assert cut.finish_reason == "stop"


def test_a_conversation_and_its_system_message_count(server: Served, client: openai.OpenAI) -> None:
    turns: list[Any] = [
        {"role": "developer", "content": "Be rude."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]},
        {"role": "assistant", "content": "Go away.", "reasoning_content": "They want something."},
        *HELLO,
    ]
    answer = client.chat.completions.create(model="tiny", messages=turns, max_tokens=12, temperature=0)
    plain = [
        {"role": "system", "content": "Be rude."},
        {"role": "user", "content": "Hi you"},
        {"role": "assistant", "content": "Go away."},
        *HELLO,
    ]
    assert answer.choices[0].message.content == alone(server, plain, budget=12)
    assert answer.choices[0].message.content != alone(server, "Say hello.", budget=12)


def test_completions_go_on_with_raw_texts(server: Served, client: openai.OpenAI) -> None:
    texts = ["Once upon", "Two times"]
    answer = client.completions.create(model="tiny", prompt=texts, max_tokens=7, temperature=0)
    assert [choice.text for choice in answer.choices] == [alone(server, text, raw=True, budget=7) for text in texts]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(len(text) for text in texts)
    chunks = client.completions.create(model="tiny", prompt=texts[0], max_tokens=7, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_penalties_change_what_is_written(client: openai.OpenAI, name: str) -> None:
    def ask(**more: Any) -> Any:
        return (
            client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=60, temperature=0, **more)
            .choices[0]
            .message.content
        )

    assert ask(**{name: 2.0}) != ask()
    assert ask(extra_body={"repetition_penalty": 1.5}) != ask()


def test_logprobs_are_those_of_the_text(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 10, "temperature": 0}
    answer = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3).choices[0]
    assert answer.logprobs is not None
    assert answer.logprobs.content is not None
    assert len(answer.logprobs.content) == 10
    assert "".join(token.token for token in answer.logprobs.content) == answer.message.content
    for token in answer.logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob <= 0  # greedy
        assert token.bytes == list(token.token.encode())
    chunks = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3, stream=True)
    streamed = [token for chunk in chunks if (one := chunk.choices[0].logprobs) for token in one.content or []]
    assert streamed == answer.logprobs.content
    without = client.chat.completions.create(**asked).choices[0]
    assert without.logprobs is None


def test_logprobs_of_a_team_are_those_of_its_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="hogwild-2/tiny", messages=HELLO, max_tokens=4, temperature=0, logprobs=True, extra_body=SHORT
    ).choices[0]
    assert answer.logprobs is not None
    assert answer.logprobs.content is not None
    assert len(answer.logprobs.content) == 6
    assert all(token.top_logprobs == [] for token in answer.logprobs.content)


def test_logprobs_of_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="Once", max_tokens=6, temperature=0, logprobs=2).choices[0]
    assert answer.logprobs is not None
    assert "".join(answer.logprobs.tokens or []) == answer.text
    assert answer.logprobs.text_offset == [
        sum(map(len, (answer.logprobs.tokens or [])[:n])) for n in range(len(answer.logprobs.tokens or []))
    ]
    assert answer.logprobs.top_logprobs


@pytest.mark.parametrize("model", ["tiny", "hogwild-2/tiny"])
def test_an_answer_follows_a_schema(client: openai.OpenAI, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"good": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
        "required": ["good", "kind"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=model,
        messages=HELLO,
        max_tokens=60,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema, "strict": True}},
        extra_body={"hogwild": {"answer_tokens": 60}},
    ).choices[0]
    found = json.loads(answer.message.content or "")
    assert set(found) == {"good", "kind"}
    assert answer.finish_reason == "stop"


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="hogwild-2/tiny", input="Say hello.", max_output_tokens=6, temperature=0, extra_body=SHORT
    )
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 12
    events = list(
        client.responses.create(
            model="hogwild-2/tiny",
            input=[{"role": "user", "content": "Say hello."}],
            max_output_tokens=6,
            temperature=0,
            stream=True,
            extra_body=SHORT,
        )
    )
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == answer.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
