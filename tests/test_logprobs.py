"""Log-probabilities in events: those of the model's own distribution, for workers and for the finisher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import decode, encode, of_kind, run, scripted, tiny_team_engine
from hogwild import Sampling, Team
from hogwild.engine.selftest import plain_logits
from hogwild.errors import OptionError
from hogwild.sampling import logprob
from hogwild.team.events import EVENT, AnswerToken, Token


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(temperature=2.0, frequency_penalty=1.0)])
@pytest.mark.parametrize("drafts", [0, 4])
def test_they_are_those_of_the_plain_model_whatever_the_sampling(sampling: Sampling, drafts: int) -> None:
    engine = tiny_team_engine()
    team = Team(engine, "tick tock tick tock", 1, budget=8, sampling=sampling, logprobs=3, drafts=drafts)
    events = of_kind(run(team), "token")
    tokens = encode(team.codec.chat("tick tock tick tock"))
    for event in events:
        want = plain_logits(engine, tokens)[-1].detach().log_softmax(-1)
        assert event.logprob == pytest.approx(float(want[event.token]), abs=1e-3)
        assert [one.token for one in event.top] == want.topk(3).indices.tolist()
        assert [one.logprob for one in event.top] == pytest.approx(want.topk(3).values.tolist(), abs=1e-3)
        assert [one.text for one in event.top] == [decode([one.token]) for one in event.top]
        tokens.append(event.token)
    assert events


def test_the_finisher_tells_its_tokens_and_theirs(prompt: Path) -> None:
    events = run(Team(scripted(answer="42}"), "Task", 2, prompt=prompt, budget=2, answer="boxed", logprobs=0))
    answer = of_kind(events, "answer_token")
    assert decode([event.token for event in answer]) == "".join(event.text for event in answer) == "42}"
    assert all(event.logprob is not None and event.logprob < 0 and event.top == [] for event in answer)


def test_a_trace_without_them_does_not_name_them(prompt: Path) -> None:
    for logprobs in (None, 1):
        events = run(Team(scripted(), "Task", 2, prompt=prompt, budget=2, answer="boxed", logprobs=logprobs))
        for event in [*of_kind(events, "token"), *of_kind(events, "answer_token")]:
            line: dict[str, Any] = json.loads(event.model_dump_json(by_alias=True))
            assert ("logprob" in line) == ("top" in line) == (logprobs is not None)
            assert "pass" in line
            assert EVENT.validate_python(line) == event
    assert EVENT.validate_python({"kind": "answer_token", "pass": 1, "time": 0, "text": "x"}).token == -1  # type: ignore[union-attr]


def test_a_token_that_cannot_come_has_a_number_that_json_has() -> None:
    value, top = logprob(torch.tensor([0.0, -torch.inf]), 1, 2)
    assert value == -9999.0
    assert top == [(0, 0.0), (1, -9999.0)]
    for kind in (Token, AnswerToken):
        assert {"logprob", "top"} <= set(kind.model_fields)


@pytest.mark.parametrize("value", [-1, 21, True, "3"])
def test_a_number_that_cannot_be_is_one_line(value: Any) -> None:
    with pytest.raises(OptionError, match="logprobs is"):
        Team(scripted(), "Task", logprobs=value)


def test_the_answers_stop_text_ends_it(prompt: Path) -> None:
    sampling = Sampling(temperature=0.0, stop=("cd",))
    events = run(Team(scripted(answer="abcdef"), "Task", 2, prompt=prompt, budget=2, sampling=sampling))
    assert "".join(event.text for event in of_kind(events, "answer_token")) == "abcd"
