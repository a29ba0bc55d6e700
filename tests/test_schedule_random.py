"""The scheduler under anything that may happen, and what must hold all the same: pages, ends, tokens, isolation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fakes import LAYOUTS, decode, kinds, prompt_folder, scripted, tiny_team_engine
from hogwild import Engine, Row, Sampling, Team, Worker
from hogwild.errors import OptionError
from hogwild.schedule import Job, Scheduler
from scheduling import WARM, finish, told

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
ACTIONS = st.sampled_from(["submit", "submit", "cancel", "stop", "say", "join", "leave"])
TEAMS = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 3),
        "budget": st.integers(1, 40),
        "layout": st.sampled_from(LAYOUTS),
        "assign": st.sampled_from(["none", "none", "plan"]),
        "answer": st.sampled_from(["text", "boxed"]),
        "drafts": st.sampled_from([0, 0, 5]),
        "on_full": st.sampled_from(["stop", "drop"]),
        "snapshots": st.lists(st.integers(1, 20), max_size=1),
    }
)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prompt_folder(tmp_path_factory.mktemp("prompt"))


def act(job: Any, what: str) -> None:
    with suppress(OptionError):
        match what:
            case "cancel":
                job.cancel()
            case "stop":
                job.stop()
            case "say":
                job.say("Hello " * 20)
            case "join":
                job.join(Worker("Zoe", prompt="late"))
            case "leave":
                job.leave("Bob")


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_comes_to_an_end_whenever_it_is(prompt: Path, cancel: bool) -> None:
    """Before anything is admitted, while prompts are read, or after the last pass."""
    for passes in range(8):
        engine = scripted(answer="done")
        scheduler = Scheduler(engine)
        jobs = [scheduler.submit(Team(engine, "Task", 2, prompt=prompt, budget=3)) for _ in range(2)]
        for _ in range(passes):
            scheduler.step()
        if cancel:
            for job in jobs:
                job.cancel()
        scheduler.close()
        thread = threading.Thread(target=scheduler.run, daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert {job.state for job in jobs} <= {"finished", "cancelled"}
        assert engine.pool.used_pages == 0


@settings(max_examples=60, suppress_health_check=SLOW)
@given(
    teams=st.lists(TEAMS, min_size=1, max_size=6),
    actions=st.lists(st.tuples(st.integers(0, 6), ACTIONS, st.integers(0, 5)), max_size=25),
    pages=st.integers(30, 120),
    overcommit=st.booleans(),
    pass_tokens=st.sampled_from([8, 64, 512]),
    positions=st.sampled_from([600, 2048]),
)
def test_pages_come_back_and_everybody_ends_whatever_happens(
    prompt: Path,
    teams: list[dict[str, Any]],
    actions: Any,
    pages: int,
    overcommit: bool,
    pass_tokens: int,
    positions: int,
) -> None:
    steps = ["Some words.\n\n", "More of them, and some that go on for a while.\n\n"] * 9
    engine = scripted(
        {"Alice": steps, "Bob": steps[1:]}, answer="1}", plan="1. a\n2. b", pages=pages, positions=positions
    )
    scheduler = Scheduler(engine, overcommit=overcommit, pass_tokens=pass_tokens)
    jobs, events, ended, left = list[Job](), list[list[Any]](), list[Job](), list(teams)

    def submit() -> None:
        if left:
            told_to = list[Any]()
            with suppress(OptionError):  # it would never fit
                one = Team(engine, "Task", prompt=prompt, answer_tokens=6, **left.pop())
                jobs.append(scheduler.submit(one, key=str(len(left) % 2), sink=told_to.append, done=ended.append))
                events.append(told_to)

    submit()
    for wait, what, which in actions:
        for _ in range(wait):
            scheduler.step()
        if what == "submit":
            submit()
        elif jobs:
            act(jobs[which % len(jobs)], what)
    while left:
        submit()
    finish(scheduler)
    assert sorted(job.number for job in ended) == [job.number for job in jobs]
    assert {job.state for job in jobs} <= {"finished", "cancelled"}
    for job, one in zip(jobs, events, strict=True):
        assert [event.pass_ for event in one] == sorted(event.pass_ for event in one)
        assert kinds(one).count("started") == (1 if one else 0)
        assert (job.state == "finished") == ("finished" in kinds(one)[-1:])
    stats = scheduler.stats
    assert stats.finished + stats.cancelled == stats.admitted + sum(not one for one in events) == len(jobs)


@settings(max_examples=25, suppress_health_check=SLOW)
@given(
    teams=st.lists(TEAMS, min_size=2, max_size=5),
    waits=st.lists(st.integers(0, 10), min_size=5, max_size=5),
    wishes=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["say", "join", "leave"])), max_size=3),
    pages=st.sampled_from([45, 60, 300]),
    pass_tokens=st.sampled_from([8, 512]),
)
def test_tokens_do_not_depend_on_who_else_is_there(
    prompt: Path, teams: list[dict[str, Any]], waits: list[int], wishes: Any, pages: int, pass_tokens: int
) -> None:
    """With everything asked before the beginning, so that it happens at the same pass in both ways."""

    def make(engine: Engine, number: int) -> Team:
        options: dict[str, Any] = {"seed": number, "sampling": WARM, "answer_tokens": 6} | teams[number]
        one = Team(engine, f"task {number} " * (number + 1), prompt=prompt, **options)
        for which, what in wishes:
            if which == number:
                act(one, what)
        return one

    engine = tiny_team_engine(pages=pages)
    scheduler, found = Scheduler(engine, overcommit=True, pass_tokens=pass_tokens), list[list[Any]]()
    for number, wait in zip(range(len(teams)), waits, strict=False):
        found.append([])
        scheduler.submit(make(engine, number), sink=found[-1].append)
        for _ in range(wait):
            scheduler.step()
    finish(scheduler)
    for number, events in enumerate(found):
        alone = list(make(tiny_team_engine(), number).run())
        if kinds(events)[-2:] != ["budget_reached", "finished"] or events[-1].reason != "cache":
            assert told(events) == told(alone)


# Two teams with secrets.

TOLERANCE = 1e-4
"""Of float32 logits: sums of the same numbers in another order. Those of these models reach from -20 to 20."""


class Watched:
    """The logits that a team draws from, and what its rows read."""

    def __init__(self, team: Team, patch: pytest.MonkeyPatch) -> None:
        self.logits = list[Tensor]()
        real = team.chooser.choose

        def choose(member: Any, logits: Tensor, seen: Any) -> int:
            self.logits.append(logits.clone())
            return real(member, logits, seen)

        patch.setattr(team.chooser, "choose", choose)


SECRETS = ("the red fox sleeps at noon", "nine blue whales sing of salt")


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=SLOW)
@given(
    workers=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    drafts=st.tuples(st.sampled_from([0, 4]), st.sampled_from([0, 4])),
    wait=st.integers(0, 8),
    pass_tokens=st.sampled_from([4, 32, 512]),
    seed=st.integers(0, 99),
)
def test_two_teams_never_see_each_other(
    prompt: Path, workers: Any, layouts: Any, drafts: Any, wait: int, pass_tokens: int, seed: int
) -> None:
    def make(engine: Engine, number: int) -> Team:
        options = {"layout": layouts[number], "drafts": drafts[number], "seed": seed, "answer_tokens": 3}
        warm = Sampling(temperature=0.9)
        return Team(engine, SECRETS[number], workers[number], prompt=prompt, budget=6, sampling=warm, **options)

    with pytest.MonkeyPatch.context() as patch:
        engine = tiny_team_engine(pages=200)
        scheduler, teams, found = Scheduler(engine, pass_tokens=pass_tokens), list[Team](), list[list[Any]]()
        watched, real, fused = list[Watched](), engine.forward, [0]

        def forward(rows: Sequence[Row], **options: Any) -> Tensor:
            texts = [decode([token for block in row.view for token in block.tokens] + list(row.tokens)) for row in rows]
            secrets = [[secret[:9] in text for secret in SECRETS] for text in texts]
            assert [True, True] not in secrets
            fused[0] += [True, False] in secrets and [False, True] in secrets
            return real(rows, **options)

        patch.setattr(engine, "forward", forward)
        for number in (0, 1):
            found.append([])
            teams.append(make(engine, number))
            watched.append(Watched(teams[number], patch))
            scheduler.submit(teams[number], sink=found[number].append)
            for _ in range(wait * (1 - number)):
                scheduler.step()
        finish(scheduler)
        assert fused[0] or wait or pass_tokens < 512
        for number in (0, 1):
            alone = make(tiny_team_engine(), number)
            expected = Watched(alone, patch)
            assert told(found[number]) == told(list(alone.run()))
            for ours, theirs in zip(watched[number].logits, expected.logits, strict=True):
                torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)
