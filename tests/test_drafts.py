"""Drafts save passes and change nothing: a lone worker writes the same tokens, and in a team nobody sees a draft."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fakes import (
    LAYOUTS,
    PAGE,
    VOCAB,
    decode,
    encode,
    kinds,
    of_kind,
    prompt_folder,
    run,
    scripted,
    tiny_llama,
    tiny_team_engine,
    tokens_of,
)
from hogwild import Sampling, Team, Worker
from hogwild import sampling as sampling_module
from hogwild.cli.board import Board
from hogwild.engine import Engine, Row
from hogwild.engine.selftest import largest_difference
from hogwild.team import chooser
from hogwild.team.drafts import FIRST, Drafter
from hogwild.team.events import EVENT

AGAIN = ["Say it again, once more.\n\n"] * 6
SAMPLINGS = [
    Sampling(temperature=0.0),
    Sampling(temperature=0.0, repetition_penalty=1.2),
    Sampling(temperature=0.4),
    Sampling(temperature=1.0, top_p=0.9, top_k=20),
    Sampling(temperature=0.7, repetition_penalty=1.1, min_p=0.02),
]


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prompt_folder(tmp_path_factory.mktemp("prompt"))


# Looking drafts up.


def drafter(most: int = 8, **texts: list[int]) -> Drafter:
    made = Drafter(most)
    for name, tokens in texts.items():
        made.read(name, tokens)
    for name in texts:
        made.learn(name, most, most)  # long ones from the start
    return made


def test_what_came_after_the_longest_run_comes_again() -> None:
    made = drafter(prompt=[1, 2, 3, 4, 50, 51, 2, 3, 4, 60, 61, 3, 4, 70], me=[1, 2, 3, 4])
    assert made.guess("me") == [50, 51, 2, 3, 4, 60, 61, 3]
    made.read("me", [9, 2, 3, 4])
    assert made.guess("me", 2) == [9, 2]  # of a run of three, its own text is the last
    made.read("me", [8, 61, 3, 4])
    assert made.guess("me", 1) == [70]  # a longer run is better than a later one
    made.read("me", [8, 4])
    assert made.guess("me") == []


def test_of_two_places_the_later_one_counts_whoever_wrote_it() -> None:
    made = drafter(a=[1, 2, 3], b=[1, 2, 4], me=[7, 1, 2])
    assert made.guess("me", 1) == [4]
    made.read("me", [5, 1, 2])
    assert made.guess("me", 1) == [5]
    made.read("a", [1, 2, 6])
    assert made.guess("me", 1) == [6]


def test_a_text_that_repeats_itself_goes_on_so() -> None:
    assert drafter(me=[9, 1, 2, 3, 1, 2]).guess("me") == [3, 1, 2, 3, 1, 2, 3, 1]
    assert drafter(me=[5, 5, 5]).guess("me") == [5] * 8
    assert drafter(other=[1, 2, 3], me=[1, 2]).guess("me") == [3]


def test_two_at_the_same_place_draft_from_an_earlier_one() -> None:
    made = drafter(prompt=[1, 2, 3, 4], a=[1, 2], b=[1, 2])
    assert made.guess("a", 2) == made.guess("b", 2) == [3, 4]


def test_the_length_follows_what_was_right() -> None:
    made = Drafter(10)
    made.read("me", [1] * 9)
    lengths = []
    for right in (FIRST, 4, 8, 10, 3, 0, 0, 1):
        guessed = len(made.guess("me"))
        lengths.append(guessed)
        made.learn("me", guessed, min(right, guessed))
    assert lengths == [2, 4, 8, 10, 10, 4, 1, 1]
    assert len(made.guess("me")) == 2
    assert (made.guessed, made.right) == (sum(lengths), 2 + 4 + 8 + 10 + 3 + 0 + 0 + 1)


def test_without_drafts_nothing_is_read() -> None:
    made = drafter(0, me=[1, 1, 1, 1])
    assert made.guess("me") == []
    assert not made._texts


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 2), max_size=6)), max_size=12))
def test_any_draft_stood_behind_the_same_two_tokens(reads: list[tuple[str, list[int]]]) -> None:
    made, texts = Drafter(6), {name: list[int]() for name in "abc"}
    for name, tokens in reads:
        made.read(name, tokens)
        texts[name] += tokens
    for name, text in texts.items():
        guessed = made.guess(name)
        known = any(text[-2:] == other[i : i + 2] for other in texts.values() for i in range(len(other) - 2))
        assert bool(guessed) == (len(text) >= 2 and known)
        if guessed:
            pairs = [other[i : i + 3] for other in texts.values() for i in range(len(other) - 2)]
            assert [*text[-2:], guessed[0]] in pairs


# One alone: the same tokens.


def alone(engine: Engine, prompt: Path, drafts: int, **options: Any) -> tuple[list[int], Team]:
    task = "tick tock tick tock. " * 3
    team = Team(engine, task, 1, drafts=drafts, prompt=prompt, answer="number", answer_tokens=2, **options)
    return tokens_of(run(team), "Alice"), team


def in_float64() -> Engine:
    engine = tiny_team_engine()
    wide: Engine = Engine.load(
        deepcopy(tiny_llama(2048)), dtype="float64", tokenizer=engine.tokenizer, kv_memory=1 << 23, check=False
    )
    return wide


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    sampling=st.sampled_from(SAMPLINGS), seed=st.integers(0, 99), drafts=st.integers(1, 12), budget=st.integers(1, 40)
)
def test_a_lone_worker_writes_the_same_tokens(
    prompt: Path, sampling: Sampling, seed: int, drafts: int, budget: int
) -> None:
    engine = tiny_team_engine()
    plain, _ = alone(engine, prompt, 0, sampling=sampling, seed=seed, budget=60)
    drafted, team = alone(engine, prompt, drafts, sampling=sampling, seed=seed, budget=budget)
    assert team.passes <= budget
    assert len(drafted) >= min(budget, len(plain))
    length = min(len(plain), len(drafted))
    assert drafted[:length] == plain[:length]
    assert engine.pool.used_pages == 0


def half_right(truth: list[int], seed: int) -> Callable[..., list[int]]:
    """A drafter that knows what will be written, and is wrong now and then."""
    draw = random.Random(seed)

    def guess(self: Drafter, name: str, most: int | None = None) -> list[int]:
        written = len(self._texts.get(name, ())) - self.opening  # type: ignore[attr-defined]
        length = min(draw.randint(0, self.most), self.most if most is None else most)
        right = truth[written : written + max(length, 0)]
        return [token if draw.random() < 0.8 else draw.randrange(VOCAB) for token in right]

    return guess


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_whatever_is_drafted_the_tokens_are_the_same(
    prompt: Path, sampling: Sampling, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = in_float64() if wide else tiny_team_engine()
    plain, _ = alone(engine, prompt, 0, sampling=sampling, budget=80)
    monkeypatch.setattr(Drafter, "guess", half_right(plain, 1))
    monkeypatch.setattr(Drafter, "opening", len(encode("Alice@1:")), raising=False)
    drafted, team = alone(engine, prompt, 9, sampling=sampling, budget=80)
    assert drafted[: len(plain)] == plain
    assert team.drafter.right > 0.25 * len(plain)
    assert team.drafter.guessed > team.drafter.right


# In a team: every token from the model's distribution over what its worker saw.


class Watched:
    """Computes what a pass with drafts should give: without them on forks, then each draft fed one by one."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.drafts, self.worst = engine, 0, 0.0
        self.seen: list[list[int]] = []
        self.forward = engine.forward
        monkeypatch.setattr(engine, "forward", self.checked)

    def checked(self, rows: Sequence[Row], *, all_positions: bool = False) -> Tensor:
        expected, self.seen = self.one_by_one(rows), []
        for row in rows:
            hidden = {id(other.own): other.drafts for other in rows if other is not row}
            base = [t for b in row.view[:-1] for t in (*b.tokens, *self.fed(b, rows))[: len_after(b, rows, hidden)]]
            own = [*row.own.tokens, *row.tokens]
            self.seen += [base + own[: len(own) - left] for left in range(row.drafts, -1, -1)]
        logits = self.forward(rows, all_positions=all_positions)
        self.drafts += sum(row.drafts for row in rows)
        self.worst = max(self.worst, largest_difference(logits, expected))
        return logits

    def fed(self, block: Any, rows: Sequence[Row]) -> Sequence[int]:
        return next((row.tokens for row in rows if row.own is block), ())

    def one_by_one(self, rows: Sequence[Row]) -> Tensor:
        forks = {id(block): block.fork() for row in rows for block in row.view}
        views = [[forks[id(block)] for block in row.view] for row in rows]
        plain = [row.tokens[: len(row.tokens) - row.drafts] for row in rows]
        first = self.forward([Row(view, tokens) for view, tokens in zip(views, plain, strict=True)])
        logits = []
        for row, view, one in zip(rows, views, first, strict=True):
            logits.append(one)
            own = view[-1].fork()
            for token in row.tokens[len(row.tokens) - row.drafts :]:
                logits.append(self.forward([Row([*view[:-1], own], [token])])[0])  # noqa: PERF401
            own.free()
        for fork in forks.values():
            fork.free()
        return torch.stack(logits)


def len_after(block: Any, rows: Sequence[Row], hidden: dict[int, int]) -> int:
    fed = next((len(row.tokens) for row in rows if row.own is block), 0)
    return len(block) + fed - hidden.get(id(block), 0)


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "guesses"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_token_comes_from_the_view_that_its_worker_had(
    prompt: Path, layout: str, loops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random model that repeats itself when greedy; and one that does not, with drafts out of the air."""
    engine, draw = tiny_team_engine(pages=400), random.Random(1)
    sampling = Sampling(temperature=0.0, repetition_penalty=1.0001) if loops else SAMPLINGS[4]
    if not loops:
        monkeypatch.setattr(Drafter, "guess", lambda *_: [draw.randrange(VOCAB) for _ in range(draw.randint(0, 3))])
    watched = Watched(engine, monkeypatch)
    penalised = list[list[int]]()
    real = sampling_module.sample

    def sampled(logits: Tensor, sampling: Sampling, u: float, seen: Any = None, *others: Any, **named: Any) -> int:
        penalised.append(seen.tolist())
        return real(logits, sampling, u, seen, *others, **named)

    monkeypatch.setattr(chooser, "sample", sampled)
    team = Team(engine, "tick tock " * 9, 3, layout=layout, prompt=prompt, sampling=sampling, drafts=5)
    list(team.prepare())
    for _ in range(40):
        penalised.clear()
        written = of_kind(team.step(), "token")
        assert len(written) == len(penalised)
        assert [seen for seen in watched.seen if seen in penalised] == penalised
    assert watched.worst < 1e-4
    assert watched.drafts > (5 if loops else 60)
    assert team.drafter.right > 3 or not loops
    team.close()
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_that_end_amid_a_draft_are_what_they_are_without(prompt: Path, layout: str, workers: int) -> None:
    """Workers repeat their steps, so drafts run over the ends of steps; each follows its script all the same."""
    scripts = {"Alice": AGAIN, "Bob": AGAIN, "Carol": ["Something else. ", "And more of it.\n\n"] * 3}
    steps, passes = [], []
    for drafts in (0, 8):
        engine = scripted(scripts)
        team = Team(engine, "Task", workers, layout=layout, prompt=prompt, drafts=drafts, check_every=0)
        events = list[Any]()
        while len(of_kind(events, "step_finished")) < 6 * min(workers, 2):
            events += team.step()
        steps.append([(e.worker, e.step, e.text) for e in of_kind(events, "step_finished")][: 5 * min(workers, 2)])
        passes.append(team.passes)
        for member in team.space.members if team.space else []:
            assert encode("\n\n")[0] not in member.block.tokens[len(member.prefix) :] or layout == "contiguous"
        team.close()
        assert engine.pool.used_pages == 0
    assert sorted(steps[0]) == sorted(steps[1])
    assert passes[1] < 0.6 * passes[0]


def test_the_history_is_the_same_text_with_drafts(prompt: Path) -> None:
    histories = []
    for drafts in (0, 8):
        team = Team(scripted({"Alice": AGAIN}), "Task", 1, layout="interleaved", prompt=prompt, drafts=drafts)
        while team.space is None or len(team.space.steps) < 5:
            team.step()
        histories.append(decode(team.space.history.tokens))
        team.close()
    assert histories[0] == histories[1]


# What a pass with several tokens means for budgets, ends, windows, pools and traces.


def test_a_pass_is_a_pass_and_its_events_replay(prompt: Path) -> None:
    events = run(Team(scripted({"Alice": AGAIN, "Bob": AGAIN}), "Task", 2, prompt=prompt, drafts=8, budget=30))
    last = events[-1]
    assert (last.passes, last.reason) == (30, "budget")
    assert sum(last.tokens.values()) == len(of_kind(events, "token")) > 90
    assert [EVENT.validate_json(event.model_dump_json(by_alias=True)) for event in events] == events
    assert [event.pass_ for event in events] == sorted(event.pass_ for event in events)
    assert events[0].settings["drafts"] == 8
    board = Board()
    for event in events:
        board.apply(event)
    assert {name: worker.tokens for name, worker in board.workers.items()} == last.tokens


def test_a_check_is_due_after_so_many_tokens_not_passes(prompt: Path) -> None:
    events = run(
        Team(scripted({"Alice": AGAIN, "Bob": AGAIN}), "Task", 2, prompt=prompt, drafts=8, budget=30, check_every=20)
    )
    tokens = sum(event.kind == "token" for event in events)
    assert tokens // 60 <= len(of_kind(events, "check_asked")) <= tokens // 20


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stop_string_ends_the_work_amid_a_draft(prompt: Path, layout: str) -> None:
    text = "tick tock tick tock tick tock STOP tick tock tick tock STOP"
    engine = scripted({"Alice": [text], "Bob": ["x" * 300]})
    workers = [Worker("Alice", sampling=Sampling(temperature=0.0, stop=("OP",))), Worker("Bob")]
    events = run(Team(engine, text, workers, layout=layout, prompt=prompt, drafts=9, budget=40))
    steps = [event.text for event in of_kind(events, "step_finished") if event.worker == "Alice"]
    assert steps == ["Alice@1:tick tock tick tock tick tock STOP"]
    assert events[-1].tokens["Alice"] == len("tick tock tick tock tick tock STOP")
    (left,) = of_kind(events, "worker_left")
    assert left.pass_ < 30


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_a_turn_amid_a_draft_ends_the_work(prompt: Path, workers: int) -> None:
    steps = {"Alice": ["la la la la la la la la la la"], "Bob": ["lo lo lo lo lo lo lo lo"]}
    last = []
    for drafts in (0, 6):
        assign = ["one", "two"][:workers]
        engine = scripted(steps)
        events = run(Team(engine, "Task", workers, assign=assign, prompt=prompt, drafts=drafts, budget=60))
        last.append(events[-1])
        assert engine.pool.used_pages == 0
    assert last[0].reason == last[1].reason == "done"
    assert last[0].tokens == last[1].tokens
    assert sorted(last[0].text.split("\n\n")) == sorted(last[1].text.split("\n\n"))
    assert last[1].passes < 0.7 * last[0].passes


@pytest.mark.parametrize("on_full", ["stop", "drop"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_drafts_take_no_room_of_the_answer(prompt: Path, layout: str, on_full: str) -> None:
    engine = scripted({"Alice": ["la la la.\n\n"] * 99, "Bob": ["lo lo.\n\n"] * 99}, positions=400, answer="1}")
    team = Team(engine, "Task", 2, layout=layout, prompt=prompt, drafts=16, answer="boxed", on_full=on_full, budget=150)
    events = run(team)
    assert max(len(view) for views in engine.seen for view in views) <= 400
    assert (events[-1].answer, events[-1].reason) == ("1", "window" if on_full == "stop" else "budget")
    assert ("steps_dropped" in kinds(events)) == (on_full == "drop")


def test_where_the_pool_has_no_room_for_drafts_the_pass_goes_without(prompt: Path) -> None:
    engine = scripted({"Alice": ["la" * 400]}, pages=10)
    team = Team(engine, "Task", 1, prompt=prompt, drafts=100, answer="number", answer_tokens=2)
    while not team.reason:
        team.step()
    assert team.reason == "cache"
    assert team.space is not None
    assert len(team.space.members[0].block) % PAGE == 0  # full to the last slot
    team.close()
    assert engine.pool.used_pages == 0
