"""The scheduler: together teams write what they write alone; who is admitted, paused, ended; whose fault is whose."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import PAGE, kinds, of_kind, scripted, tiny_team_engine
from hogwild import Sampling, Team, Worker, solve, solve_many
from hogwild.errors import HogwildError, OptionError, QueueFull
from hogwild.schedule import Scheduler
from scheduling import WARM, finish, submit, team, told

# The same tokens together as alone.


@pytest.mark.parametrize("options", [{}, {"pass_tokens": 40}, {"max_teams": 5}, {"overcommit": True}])
def test_twenty_teams_write_what_each_writes_alone(prompt: Path, options: dict[str, Any]) -> None:
    shapes: list[dict[str, Any]] = [
        {"workers": 1 + i % 3, "layout": ["combined", "contiguous", "interleaved"][i % 3], "drafts": 3 * (i % 4 == 1)}
        | ({"assign": "plan"} if i == 5 else {"snapshots": [4]} if i == 6 else {})
        for i in range(20)
    ]
    alone = []
    for i, shape in enumerate(shapes):
        alone.append(told(list(team(tiny_team_engine(), prompt, i, answer="boxed", **shape).run())))
    scheduler = Scheduler(tiny_team_engine(pages=900), **options)
    jobs = [
        submit(scheduler, team(scheduler.engine, prompt, i, answer="boxed", **shape)) for i, shape in enumerate(shapes)
    ]
    finish(scheduler)
    assert [job.state for job, _ in jobs] == ["finished"] * 20
    for (_, events), expected in zip(jobs, alone, strict=True):
        assert told(events) == expected


def test_paused_teams_write_the_same(prompt: Path) -> None:
    """A pool for two teams or so, and six that are let in by their prompts: some are paused, none differs."""
    alone = [told(list(team(tiny_team_engine(), prompt, i, budget=100, answer="boxed").run())) for i in range(6)]
    scheduler = Scheduler(tiny_team_engine(pages=50), overcommit=True)
    jobs = [submit(scheduler, team(scheduler.engine, prompt, i, budget=100, answer="boxed")) for i in range(6)]
    finish(scheduler)
    assert scheduler.stats.pauses >= 2
    for (job, events), expected in zip(jobs, alone, strict=True):
        assert job.state == "finished"
        assert told(events) == expected
        assert [event.time for event in events] == sorted(event.time for event in events)


@pytest.mark.parametrize("before", [False, True])
def test_a_pause_loses_no_event_when_the_prompt_is_read_in_other_pieces(prompt: Path, before: bool) -> None:
    """Another team that begins alike has read its own ahead of the first reading, or ahead of the second."""
    options: dict[str, Any] = {"prompt": prompt, "budget": 9, "sampling": WARM}
    expected, engine = told(list(Team(tiny_team_engine(), "like " * 30, **options).run())), tiny_team_engine()
    other, scheduler = Team(engine, "like " * 30 + "that", **options), Scheduler(engine)
    list(other.run() if before else ())
    job, events = submit(scheduler, Team(engine, "like " * 30, **options))
    while job.team.passes < 3:
        scheduler.step()
    engine.prefixes.clear()
    list(other.run() if not before else ())
    scheduler._pause(job)
    finish(scheduler)
    assert told(events) == expected


def test_requests_during_a_pause_happen_after_it(prompt: Path) -> None:
    scheduler = Scheduler(tiny_team_engine(pages=60), overcommit=True)
    jobs = [submit(scheduler, team(scheduler.engine, prompt, i, budget=150, answer="boxed")) for i in range(6)]
    while not scheduler.stats.paused:
        scheduler.step()
    job, events = next((job, events) for job, events in jobs if job.state == "paused")
    before = len(events)
    job.say("While you were away")
    job.join(Worker("Zoe"))
    finish(scheduler)
    (said,) = of_kind(events, "said")
    assert events.index(said) >= before
    assert kinds(events).count("started") == 1
    assert events[-1].tokens["Zoe"] > 0


# Passes.


def test_a_long_prompt_stalls_nobody(prompt: Path) -> None:
    """While it is read, each worker of each running team is in each pass, and no pass is longer than it may be."""
    engine = tiny_team_engine(pages=400)
    scheduler = Scheduler(engine, pass_tokens=64)
    jobs = [submit(scheduler, team(engine, prompt, i, budget=60))[0] for i in range(3)]
    while scheduler.stats.first_tokens < 3:
        scheduler.step()
    late, events = submit(scheduler, Team(engine, "a long task " * 100, 2, prompt=prompt, budget=3))
    before, tokens = [job.team.passes for job in jobs], scheduler.stats.tokens
    for number in itertools.count(1):
        scheduler.step()
        if "prefilled" in kinds(events):
            break
        assert [job.team.passes for job in jobs] == [count + number for count in before]
        assert scheduler.stats.tokens - tokens <= 64 + 6 * 20  # the names of steps, at the most
        tokens = scheduler.stats.tokens
    assert number > 512 / 64
    finish(scheduler)
    assert late.state == "finished"


def test_rows_are_cut_and_put_together(prompt: Path) -> None:
    """Whatever the limit, a team reads its prompt, its roles and its messages as alone."""
    long = "words of a role, " * 12

    def make(engine: Any) -> Team:
        workers = [Worker("Alice", prompt=long), Worker("Bob", prompt="b", opening=long)]
        one = Team(engine, "Task " * 30, workers, prompt=prompt, budget=8, sampling=Sampling(temperature=0.0))
        one.say(long)
        return one

    expected = told(list(make(tiny_team_engine()).run()))
    for pass_tokens in (1, 7, 100, 512):
        scheduler = Scheduler(tiny_team_engine(), pass_tokens=pass_tokens)
        _, events = submit(scheduler, make(scheduler.engine))
        finish(scheduler)
        assert told(events) == expected


def test_who_begins_alike_waits_for_what_can_be_shared(prompt: Path) -> None:
    engine = tiny_team_engine()
    scheduler, common = Scheduler(engine), "common " * 30
    for i in range(4):
        submit(scheduler, Team(engine, f"{common}{i}", 1, prompt=prompt, budget=2))
    finish(scheduler)
    whole = len(team(engine, prompt).codec.encode(common)) // PAGE * PAGE
    assert scheduler.stats.tokens < 4 * 300 - 3 * whole


def test_prompts_are_shared_within_one_key_only(prompt: Path) -> None:
    read = []
    for isolate in (False, True):
        engine = tiny_team_engine()
        scheduler, tokens = Scheduler(engine, isolate=isolate), list[int]()
        for key, text in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "xy")):
            before = scheduler.stats.tokens
            submit(scheduler, Team(engine, "common " * 30 + text, 1, prompt=prompt, budget=1), key=key)
            finish(scheduler)
            tokens.append(scheduler.stats.tokens - before)
        read.append([count < tokens[0] - PAGE for count in tokens])
    assert read == [[False, True, True, True], [False, True, False, False]]


# Who may run.


def test_teams_are_admitted_while_their_worst_case_can_be_held(prompt: Path) -> None:
    engine = scripted(pages=120)
    scheduler = Scheduler(engine)
    jobs = [submit(scheduler, Team(engine, "Task", 2, prompt=prompt, budget=300))[0] for _ in range(6)]
    scheduler.step()
    running = [job for job in jobs if job.state == "running"]
    assert 1 <= len(running) < 6
    assert sum(job.need.worst for job in running) <= 120 < sum(job.need.worst for job in running) + jobs[-1].need.worst
    finish(scheduler)
    assert scheduler.stats.pauses == 0
    assert [job.state for job in jobs] == ["finished"] * 6


def test_a_worst_case_is_one(prompt: Path) -> None:
    """Teams that write as much as they can, in short steps, stay within what was said of them."""
    for workers, layout in ((1, "combined"), (2, "combined"), (3, "contiguous"), (4, "interleaved")):
        engine = scripted({name: ["Some more words than one.\n\n"] * 99 for name in ("Alice", "Bob", "Carol", "Dave")})
        scheduler, most = Scheduler(engine), 0
        job, _ = submit(scheduler, Team(engine, "Task", workers, layout=layout, prompt=prompt, budget=200))
        while scheduler.step():
            most = max(most, engine.pool.used_pages)
        assert job.need.worst / 3 < most <= job.need.worst


def test_what_never_fits_is_refused(prompt: Path) -> None:
    engine = scripted(pages=20)
    scheduler = Scheduler(engine)
    with pytest.raises(OptionError, match=r"may need \d+ pages of 64 tokens, and the pool has 20: lower its budget"):
        scheduler.submit(Team(engine, "Task", 4, prompt=prompt, budget=500))
    with pytest.raises(OptionError, match="another engine"):
        scheduler.submit(Team(scripted(), "Task", 2, prompt=prompt))
    for name in ("max_teams", "pass_tokens", "queue_limit"):
        with pytest.raises(OptionError, match=name):
            Scheduler(engine, **{name: 0})  # type: ignore[arg-type]
    job, events = submit(Scheduler(engine, overcommit=True), Team(engine, "Task", 1, prompt=prompt, budget=2000))
    assert (job.state, events) == ("queued", [])


def test_one_alone_ends_when_the_pool_is_full(prompt: Path) -> None:
    engine = scripted({"Alice": ["la" * 900]}, pages=20)
    scheduler = Scheduler(engine, overcommit=True)
    job, events = submit(scheduler, Team(engine, "Task", 1, prompt=prompt, budget=2000))
    finish(scheduler)
    assert (job.state, events[-1].reason) == ("finished", "cache")


def test_keys_take_turns_and_the_queue_has_an_end(prompt: Path) -> None:
    engine = scripted()
    scheduler = Scheduler(engine, max_teams=1, queue_limit=7)
    order = list[str]()
    for key in "aaaabbc":
        scheduler.submit(
            Team(engine, "Task", 1, prompt=prompt, budget=1), key=key, done=lambda job: order.append(job.key)
        )
    with pytest.raises(QueueFull, match="7 teams are waiting already"):
        scheduler.submit(Team(engine, "Task", 1, prompt=prompt), key="d")
    finish(scheduler)
    assert "".join(order) == "abcabaa"


def test_who_waits_too_long_and_who_takes_too_long_expires(prompt: Path) -> None:
    engine = scripted()
    scheduler = Scheduler(engine, max_teams=1, queue_seconds=0.0)
    first, _ = submit(scheduler, Team(engine, "Task", 2, prompt=prompt))
    assert not scheduler.step()
    assert (first.state, "no room for this team" in str(first.error)) == ("expired", True)
    scheduler = Scheduler(engine, max_teams=1)
    second, events = submit(scheduler, Team(engine, "Task", 2, prompt=prompt), deadline=0.05)
    scheduler.step()
    assert second.state == "running"
    time.sleep(0.06)
    finish(scheduler)
    assert (second.state, str(second.error)) == ("expired", "the time limit of this team is over")
    assert "finished" not in kinds(events)


def test_a_cancelled_team_gives_its_pages_back_before_the_next_pass(prompt: Path) -> None:
    engine, ended = scripted(), list[Any]()
    scheduler = Scheduler(engine, max_teams=2)
    jobs = [scheduler.submit(Team(engine, "Task", 2, prompt=prompt), done=ended.append) for _ in range(3)]
    for _ in range(5):
        scheduler.step()
    held = jobs[0].held
    used = engine.pool.used_pages
    assert held > 5
    jobs[0].cancel()
    jobs[2].cancel()
    scheduler._end_what_must()
    assert used - engine.pool.used_pages >= held - 3  # of the prompt, the other one has pages, too
    assert [job.state for job in jobs] == ["cancelled", "running", "cancelled"]
    assert ended == [jobs[2], jobs[0]]
    jobs[1].cancel()
    finish(scheduler)
    jobs[1].cancel()  # does nothing
    assert not scheduler.step()
    assert len(ended) == 3


# Whose fault it is.


def bad_sink(event: Any) -> None:
    raise ZeroDivisionError


def test_a_team_that_fails_hurts_no_other(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = told(list(team(tiny_team_engine(), prompt, 0).run()))
    engine = tiny_team_engine()
    scheduler = Scheduler(engine)
    good, events = submit(scheduler, team(engine, prompt, 0))
    broken, _ = submit(scheduler, team(engine, prompt, 1))
    buggy, _ = submit(scheduler, team(engine, prompt, 2))
    deaf = scheduler.submit(team(engine, prompt, 3), sink=bad_sink)
    for _ in range(4):
        scheduler.step()
    nan, real = torch.tensor(float("nan")), broken.team.chooser.choose
    monkeypatch.setattr(broken.team.chooser, "choose", lambda member, logits, seen: real(member, logits * nan, seen))
    monkeypatch.setattr(buggy.team.layout, "view", lambda space, member: [])
    finish(scheduler)
    assert [job.state for job in (good, broken, buggy, deaf)] == ["finished", "failed", "failed", "failed"]
    assert told(events) == expected
    assert "no token can be chosen" in str(broken.error)
    assert isinstance(buggy.error, HogwildError)
    assert "ZeroDivisionError" in str(deaf.error)


def test_a_pass_that_fails_is_done_team_by_team(prompt: Path) -> None:
    expected = told(list(team(tiny_team_engine(), prompt, 0).run()))
    engine = tiny_team_engine()
    scheduler, real = Scheduler(engine), engine.forward
    good, events = submit(scheduler, team(engine, prompt, 0))
    bad, _ = submit(scheduler, team(engine, prompt, 1))

    def forward(rows: Any, **options: Any) -> Any:
        space = bad.team.space
        if space and space.members and any(row.own is space.members[0].block for row in rows):
            raise RuntimeError("a driver has failed")
        return real(rows, **options)

    engine.forward = forward  # type: ignore[method-assign]
    finish(scheduler)
    assert (good.state, bad.state) == ("finished", "failed")
    assert "RuntimeError: a driver has failed" in str(bad.error)
    assert told(events) == expected


def test_an_interrupt_leaves_the_scheduler_at_work(prompt: Path) -> None:
    engine = scripted()
    scheduler = Scheduler(engine)
    job, _ = submit(scheduler, Team(engine, "Task", 2, prompt=prompt, budget=5))
    scheduler.step()

    def interrupt() -> None:
        engine.hook = lambda: None
        raise KeyboardInterrupt

    engine.hook = interrupt
    with pytest.raises(KeyboardInterrupt):
        scheduler.step()
    finish(scheduler)
    assert job.state == "finished"


# In a thread.


def test_a_scheduler_in_a_thread_is_used_from_many(prompt: Path) -> None:
    engine = tiny_team_engine(pages=400)
    scheduler = Scheduler(engine)
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    ended, jobs = threading.Semaphore(0), list[Any]()

    def client(number: int) -> None:
        for i in range(3):
            one = team(engine, prompt, number * 3 + i, budget=30)
            job = scheduler.submit(one, key=str(number), done=lambda _: ended.release())
            jobs.append(job)
            if i == 1:
                job.say("Hello")
            if i == 2:
                job.cancel()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(5)]
    for one in clients:
        one.start()
    for _ in range(15):
        assert ended.acquire(timeout=60)
    scheduler.close()
    thread.join(30)
    assert not thread.is_alive()
    assert {job.state for job in jobs} <= {"finished", "cancelled"}
    assert engine.pool.used_pages == 0
    with pytest.raises(QueueFull, match="closing"):
        scheduler.submit(team(engine, prompt))


def test_closing_lets_running_teams_answer(prompt: Path) -> None:
    engine = scripted(answer="7}")
    scheduler = Scheduler(engine, max_teams=1)
    job, events = submit(scheduler, Team(engine, "Task", 2, prompt=prompt, budget=5000, answer="boxed"))
    waiting, _ = submit(scheduler, Team(engine, "Task", 2, prompt=prompt))
    for _ in range(9):
        scheduler.step()
    scheduler.close(grace=0.0)
    scheduler.run()
    assert (job.state, events[-1].reason, events[-1].answer) == ("finished", "stopped", "7")
    assert (waiting.state, str(waiting.error)) == ("cancelled", "the scheduler is closing")
    assert engine.pool.used_pages == 0


def test_many_tasks_are_solved_together(prompt: Path) -> None:
    engine = scripted({"Alice": ["One."], "Bob": ["Two."]})
    options: dict[str, Any] = {"workers": 2, "prompt": prompt, "budget": 9}
    expected = [solve(task, engine, **options) for task in ("a", "b", "c")]
    assert told(solve_many(["a", "b", "c"], engine, **options)) == told(expected)
    assert solve_many([], engine) == []
    engine.hook = lambda: bad_sink(None)
    with pytest.raises(HogwildError, match="ZeroDivisionError"):
        solve_many(["a", "b"], engine, **options)
    assert engine.pool.used_pages == 0


def test_a_scheduler_that_fails_goes_on_with_who_comes_later(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, ended = scripted(), threading.Semaphore(0)
    scheduler, real = Scheduler(engine), Scheduler._choose

    def choose() -> Any:
        if first.state == "running":
            raise RuntimeError("a bug")
        return real(scheduler)

    monkeypatch.setattr(scheduler, "_choose", choose)
    first = scheduler.submit(Team(engine, "Task", 2, prompt=prompt), done=lambda _: ended.release())
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    assert ended.acquire(timeout=60)
    later = scheduler.submit(Team(engine, "Task", 2, prompt=prompt, budget=2), done=lambda _: ended.release())
    assert ended.acquire(timeout=60)
    scheduler.close()
    thread.join(30)
    assert (first.state, later.state, thread.is_alive()) == ("failed", "finished", False)
    assert engine.pool.used_pages == 0
