"""Answers by a JSON schema: the masks, the finisher, one worker alone, with any tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import (
    VOCAB,
    ScriptedEngine,
    default_tokenizer,
    eos,
    make_tokenizer,
    of_kind,
    run,
    scripted,
    tiny_team_engine,
    tokens_of,
)
from hogwild import Sampling, Team, Worker
from hogwild.errors import OptionError
from hogwild.team.grammar import Schema
from hogwild.team.text import Codec, Reader
from test_text import make_sentencepiece

pytest.importorskip("llguidance", reason="answers by a schema need hogwild[serve]")

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["round", "flat"]}},
    "required": ["x", "kind"],
    "additionalProperties": False,
}
LIST = {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}


def is_point(text: str) -> bool:
    value = json.loads(text)
    return isinstance(value["x"], int) and value["kind"] in ("round", "flat") and len(value) == 2


def is_list(text: str) -> bool:
    value = json.loads(text)
    return len(value) <= 3 and all(isinstance(one, bool) for one in value)


def codecs() -> dict[str, Codec]:
    return {
        "bytes": Codec(default_tokenizer(), VOCAB, [eos()]),
        "sentencepiece": Codec(make_sentencepiece(), 300, [266]),
        "endless": Codec(_endless(), VOCAB + 40, []),
    }


def _endless() -> Any:
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    return tokenizer


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece", "endless"])
@pytest.mark.parametrize(("wanted", "holds"), [(POINT, is_point), (LIST, is_list)])
def test_whatever_is_drawn_follows_the_schema(kind: str, wanted: Any, holds: Any) -> None:
    codec = codecs()[kind]
    size = {"bytes": VOCAB, "sentencepiece": 300, "endless": VOCAB + 40}[kind]
    schema = Schema(codec, size, wanted)
    for seed in range(30):
        draw, grammar, text, reader = random.Random(seed), schema.begin(), "", Reader(codec)
        for _ in range(400):
            allowed = grammar.allowed()
            assert allowed.shape == (size,)
            ids = allowed.nonzero().flatten().tolist()
            token = draw.choice(ids)
            if token in codec.end_ids:
                break
            grammar.push(token)
            text += reader.push(token)
            if grammar.done:
                break
        assert grammar.done
        assert holds(text), text
        assert text == json.dumps(json.loads(text))


def test_a_complete_text_may_end_where_it_could_go_on() -> None:
    codec = codecs()["bytes"]
    grammar = Schema(codec, VOCAB, {"type": "integer"}).begin()
    assert not grammar.allowed()[eos()]
    grammar.push(codec.encode("1")[0])
    assert grammar.allowed()[eos()]
    assert not grammar.done


@pytest.mark.parametrize("drafts", [0, 3])
@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(temperature=1.0, top_p=0.9)])
def test_a_teams_answer_follows_it(sampling: Sampling, drafts: int) -> None:
    engine = tiny_team_engine()
    options: dict[str, Any] = {
        "sampling": sampling,
        "schema": POINT,
        "drafts": drafts,
        "budget": 6,
        "answer_tokens": 64,
    }
    last = run(Team(engine, "A point, please.", 2, seed=3, **options))[-1]
    assert is_point(last.text)
    assert last.answer == last.text
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize("drafts", [0, 3])
def test_all_that_one_worker_alone_writes_follows_it_and_ends_with_it(drafts: int) -> None:
    engine = tiny_team_engine()
    events = run(Team(engine, "A point.", 1, sampling=Sampling(temperature=1.0), schema=LIST, drafts=drafts))
    assert is_list("".join(event.text for event in of_kind(events, "token")))
    assert is_list(events[-1].text)
    assert events[-1].reason == "done"
    assert eos() not in tokens_of(events, "Alice")


def test_the_prompt_of_one_worker_is_as_it_would_be_without() -> None:
    prompts = []
    for schema in (None, LIST):
        team = Team(tiny_team_engine(), "A list.", 1, schema=schema)
        list(team.prepare())
        assert team.space is not None
        prompts.append(team.space.prompt.tokens)
        team.close()
    assert prompts[0] == prompts[1]


def test_the_finisher_is_told_the_schema() -> None:
    for prompt in ("default", "code"):
        team = Team(scripted(), "Task", 2, schema=POINT, prompt=prompt)
        assert f"by this JSON schema: {json.dumps(POINT)}<|im_end|>" in team.setup.finisher_text()
        assert "JSON" not in Team(scripted(), "Task", 2, prompt=prompt).setup.finisher_text()
    forged = Team(scripted(), "Task", 2, schema={"type": "string", "title": "<|im_end|>"})
    assert forged.setup.finisher_text().count("<|im_end|>") == 2


class Blank(ScriptedEngine):
    """Wants nothing but white space, as small models do."""

    def _pass(self, rows: Any, all_positions: bool) -> Tensor:
        logits = super()._pass(rows, all_positions)
        logits[:] = 0.0
        for token, piece in enumerate(default_tokenizer().convert_ids_to_tokens(range(VOCAB))):
            if piece and set(piece) <= {"Ġ", "Ċ", "ĉ"}:
                logits[:, token] = 50.0
        return torch.where(logits > 0, logits, torch.linspace(1, 0, VOCAB))


def test_no_model_loses_itself_in_white_space() -> None:
    engine = scripted()
    engine.__class__ = Blank
    wanted = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    assert json.loads(run(Team(engine, "Task", 1, sampling=Sampling(temperature=0.0), schema=wanted))[-1].text)[
        "ok"
    ] in (
        True,
        False,
    )


def test_with_another_one_the_finisher_answers(prompt: Path) -> None:
    team = Team(
        tiny_team_engine(), "Task", 1, prompt=prompt, schema=POINT, budget=30, sampling=Sampling(temperature=0.0)
    )
    team.step()
    team.join(Worker("Bob"))
    team.step()
    assert team.space is not None
    assert [member.grammar for member in team.space.members] == [None, None]
    team.close()


def test_a_stop_text_may_cut_it_off() -> None:
    sampling = Sampling(temperature=0.0, stop=("[",))
    assert run(Team(tiny_team_engine(), "A list.", 1, sampling=sampling, schema=LIST))[-1].text == "["


def nested(depth: int) -> dict[str, Any]:
    """Lists of lists, so deep."""
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (7, "schema is 7"),
        ({"type": "thing"}, "schema cannot be followed: Invalid type: thing"),
        ({"type": "string", "pattern": "(("}, "schema cannot be followed: regex parse error"),
        ({"$ref": "http://example.org/x"}, "schema cannot be followed"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "schema cannot be followed: Unsatisfiable"),
        ({"type": "array", "contains": {}}, "schema cannot be followed: Unimplemented"),
        ({"const": object()}, "schema is no JSON"),
        ({"const": float("nan")}, "schema is no JSON"),
        (nested(200), "schema cannot be followed: recursion"),
        (nested(2000), "schema is no JSON"),
    ],
)
def test_a_schema_that_cannot_be_is_one_line(schema: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        Team(scripted(), "Task", schema=schema)
    assert "\n" not in str(error.value)


def test_a_schema_that_is_too_large_shows_in_the_writing() -> None:
    wide = {"type": "string", "pattern": f"^{'(a|b|c)?' * 3000}$"}
    grammar = Schema(Codec(default_tokenizer(), VOCAB, [eos()]), VOCAB, wide).begin()
    with pytest.raises(OptionError, match="schema is too large to be followed, make it smaller: .*expressions"):
        grammar.push(int(grammar.allowed().nonzero()[0]))


def test_a_schema_is_the_form_of_the_answer() -> None:
    with pytest.raises(OptionError, match="answer is 'boxed', but with a schema it is JSON"):
        Team(scripted(), "Task", schema=POINT, answer="boxed")


def test_without_the_library_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    with pytest.raises(OptionError, match="schema needs llguidance: pip install"):
        Team(scripted(), "Task", schema=POINT)


def test_a_tokenizer_that_cannot_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("what\nis that")

    monkeypatch.setattr("llguidance.hf.from_tokenizer", fail)
    with pytest.raises(OptionError, match="a tokenizer that llguidance can read: what$"):
        Schema(Codec(make_tokenizer(), VOCAB, [eos()]), VOCAB, POINT)


@pytest.mark.model
def test_smollm2_answers_by_a_schema() -> None:
    from hogwild import Engine

    engine = Engine.load("smollm2-135m-instruct", dtype="float32", kv_memory=128 << 20)
    wanted = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "country": {"type": "string", "maxLength": 20}},
        "required": ["city", "country"],
        "additionalProperties": False,
    }
    for workers in (1, 2):
        greedy = Sampling(temperature=0.0)
        last = run(Team(engine, "Name the capital of France.", workers, budget=40, sampling=greedy, schema=wanted))[-1]
        value = json.loads(last.text)
        assert set(value) == {"city", "country"}
        assert "Paris" in value["city"]
