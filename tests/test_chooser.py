"""What a worker may write, and that its tokens depend on nothing but the seed, itself and its view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import (
    ScriptedEngine,
    decode,
    default_tokenizer,
    encode,
    eos,
    make_tokenizer,
    of_kind,
    prompt_folder,
    run,
    scripted,
    tiny_team_engine,
    tokens_of,
)
from hogwild import Engine, Sampling, Team, Worker
from hogwild.team.events import StepFinished

HOT = Sampling(temperature=1.0)
NEWLINE = encode("\n")[0]
HASH, HASHES, HEADER = (encode("#" * count)[0] for count in (1, 2, 3))


class Biased(ScriptedEngine):
    """Wants nothing but some tokens, each a little more than the next."""

    wanted: list[int]

    def _pass(self, rows: Any, all_positions: bool) -> Tensor:
        logits = super()._pass(rows, all_positions)
        logits[:] = 0.0
        for rank, token in enumerate(self.wanted):
            logits[:, token] = 50.0 - 0.1 * rank
        return logits


def biased(*tokens: int, tokenizer: Any = None) -> Biased:
    engine = scripted(tokenizer=tokenizer)
    engine.__class__ = Biased
    assert isinstance(engine, Biased)
    engine.wanted = list(tokens)
    return engine


def written(engine: Engine, prompt: Path, **options: Any) -> str:
    events = run(Team(engine, "Task", **{"workers": 2, "prompt": prompt, "budget": 40, "sampling": HOT, **options}))
    return "".join(decode(tokens_of(events, name)) for name in ("Alice", "Bob"))


# What workers must not write.


def test_special_tokens_ends_and_rows_without_a_token_are_never_written(prompt: Path) -> None:
    thinker = make_tokenizer(thinking=True)
    special = sorted(thinker.get_added_vocab().values())
    engine = biased(*special, *range(len(thinker), engine_size()), HEADER, encode("a")[0], tokenizer=thinker)
    assert set(written(engine, prompt)) == {"a"}


def engine_size() -> int:
    return scripted().vocab_size


@pytest.mark.parametrize("wanted", [(HASH,), (HASHES,), (HASHES, HASH), (HASH, NEWLINE), (HEADER, HASH, HASHES)])
def test_no_line_of_hashes_grows_to_a_header(prompt: Path, wanted: tuple[int, ...]) -> None:
    """Without a prefix: the first token begins a line."""
    prompt = prompt_folder(prompt, step="")
    engine = biased(*wanted, encode(" ")[0], NEWLINE)
    text = written(engine, prompt, workers=[Worker("Alice", opening="\n"), Worker("Bob", opening="a\n")])
    assert "#" in text
    assert not any(line.strip().startswith("###") for line in text.split("\n"))


def test_a_worker_with_parts_may_end_its_turn_and_write_nothing_else_that_is_special(prompt: Path) -> None:
    special = default_tokenizer().convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>"])
    events = run(Team(biased(*special, HEADER, eos()), "Task", 2, prompt=prompt, assign=["a", "b"]))
    assert (events[-1].reason, events[-1].passes) == ("done", 1)
    assert not of_kind(events, "token")
    assert [event.worker for event in of_kind(events, "worker_left")] == ["Alice", "Bob"]


def test_one_alone_may_write_anything(prompt: Path) -> None:
    start = default_tokenizer().convert_tokens_to_ids("<|im_start|>")
    events = run(Team(biased(start), "Task", 1, prompt=prompt, budget=3))
    assert tokens_of(events, "Alice") == [start] * 3


# The same seed gives the same tokens.


def tokens(events: list[Any]) -> list[tuple[str, int]]:
    return [(event.worker, event.token) for event in of_kind(events, "token")]


def test_the_seed_decides_and_nothing_else(prompt: Path) -> None:
    def sampled(seed: int, engine: Engine) -> list[tuple[str, int]]:
        return tokens(run(Team(engine, "Task", 2, prompt=prompt, sampling=HOT, seed=seed, budget=30)))

    first = sampled(1, tiny_team_engine())
    assert sampled(1, tiny_team_engine(pages=40)) == first
    assert sampled(2, tiny_team_engine()) != first
    engine = tiny_team_engine(pages=64)
    blocks = [engine.block() for _ in range(20)]  # a pool in pieces: pages here and there are taken
    for block in blocks:
        engine.prefill([block], encode("x"))
    for block in blocks[::2]:
        block.free()
    torch.manual_seed(123)
    assert sampled(1, engine) == first
    assert sampled(1, engine) == first


def test_two_workers_draw_different_numbers(prompt: Path) -> None:
    alike = prompt_folder(prompt, step="", own="", opening="")
    events = run(Team(tiny_team_engine(), "Task", 2, layout="interleaved", prompt=alike, sampling=HOT, budget=10))
    assert tokens_of(events, "Alice") != tokens_of(events, "Bob")


def test_snapshots_do_not_change_a_run(prompt: Path) -> None:
    def sampled(**options: Any) -> list[Any]:
        return run(Team(tiny_team_engine(), "Task", 3, prompt=prompt, sampling=HOT, budget=30, **options))

    plain = sampled(answer="boxed")
    seen = sampled(answer="boxed", snapshots=(1, 7, 7, 20, 30, 99))
    assert tokens(seen) == tokens(plain)
    assert (seen[-1].passes, seen[-1].answer, seen[-1].text) == (30, plain[-1].answer, plain[-1].text)
    assert [(event.budget, event.pass_) for event in of_kind(seen, "snapshot")] == [(1, 1), (7, 7), (20, 20), (30, 30)]


# Sampling of one's own.


def test_each_worker_has_its_own_sampling(prompt: Path) -> None:
    cold, hot = Sampling(temperature=0.0), Sampling(temperature=5.0)
    seeds = []
    for seed in (1, 2):
        workers = [Worker("Alice", sampling=cold), Worker("Bob", sampling=hot)]
        team = Team(tiny_team_engine(), "Task", workers, layout="interleaved", prompt=prompt, seed=seed, budget=12)
        seeds.append(run(team))
    one, two = seeds
    assert tokens_of(one, "Alice") == tokens_of(two, "Alice")
    assert tokens_of(one, "Bob") != tokens_of(two, "Bob")
    assert [entry["temperature"] for entry in one[0].settings["sampling"]] == [0.0, 5.0]


def test_the_models_own_sampling_is_the_default(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted()
    assert Team(engine, "Task", prompt=prompt).sampling.greedy
    monkeypatch.setattr(engine.generation_config, "do_sample", True)
    monkeypatch.setattr(engine.generation_config, "temperature", 0.7)
    assert Team(engine, "Task", prompt=prompt).sampling.temperature == 0.7


@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_a_stop_string_ends_a_workers_work(prompt: Path, layout: str) -> None:
    engine = scripted({"Alice": ["I say STOP now.\n\n"], "Bob": ["Bob says STOP.\n\n", "More.\n\n"]})
    workers = [Worker("Alice", sampling=Sampling(temperature=0.0, stop=("no", "STOP"))), Worker("Bob")]
    team = Team(engine, "Task", workers, layout=layout, prompt=prompt, budget=30)
    events = run(team)
    (left,) = of_kind(events, "worker_left")
    assert (left.worker, left.reason) == ("Alice", "done")
    steps: list[StepFinished] = of_kind(events, "step_finished")
    assert [step.text for step in steps if step.worker == "Alice"] == ["Alice@1:I say STOP"]
    assert events[-1].tokens == {"Alice": len("I say STOP"), "Bob": 30}
    after = next(views for views in engine.seen if len(views) == 1 and len(views[0]) > 100)
    assert "Alice@1:I say STOP" in decode(after[0])  # the last token of it has been read as well


def test_a_stop_string_may_end_one_alone(prompt: Path) -> None:
    engine = scripted({"Alice": ["abcdef"]})
    last = run(Team(engine, "Task", 1, prompt=prompt, sampling=Sampling(temperature=0.0, stop=("cd",))))[-1]
    assert (last.text, last.reason, last.passes) == ("Alice@1:abcd", "done", 4)
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize(
    ("layout", "expected"), [("contiguous", {"q", "z"}), ("interleaved", {"z"}), ("combined", {"q", "z"})]
)
def test_a_repetition_penalty_sees_the_view(prompt: Path, layout: str, expected: set[str]) -> None:
    """The prompt holds neither; Alice writes q and Bob wants q or z: where he sees hers, z is next."""
    penalty = Sampling(temperature=0.0, repetition_penalty=100.0)

    engine = biased(encode("q")[0], encode("z")[0])
    workers = [Worker("Alice", sampling=penalty), Worker("Bob", sampling=penalty)]
    team = Team(engine, "Task", workers, layout=layout, prompt=prompt, budget=2)
    events = run(team)
    second = {event.worker: event.text for event in of_kind(events, "token") if event.pass_ == 2}
    assert second["Bob"] == "z"
    first = {event.worker: event.text for event in of_kind(events, "token") if event.pass_ == 1}
    assert first == {"Alice": "q", "Bob": "q"}
