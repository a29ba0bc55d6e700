"""Teams whose workers wait for tools, among others in one scheduler."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fakes import ScriptedEngine, make_tokenizer, of_kind, scripted, tokens_of
from hogwild import Sampling, Team
from hogwild.schedule import Scheduler
from hogwild.team.tools import Tool
from templates import HERMES
from test_tools_team import ALICE, CALL, behind

GREEDY = Sampling(temperature=0.0)
SCRIPT = {"Alice": ALICE, "Bob": ["b" * 60 + ".\n\n", CALL + behind("7") + "Seven."]}


def engine_with(pages: int = 256) -> ScriptedEngine:
    return scripted(SCRIPT, tokenizer=make_tokenizer(template=HERMES), pages=pages)


def finish(scheduler: Scheduler) -> None:
    until = time.monotonic() + 60
    while not scheduler.idle:
        assert time.monotonic() < until
        if not scheduler.step():
            time.sleep(0.002)


def test_one_team_waits_and_the_others_go_on(prompt: Path) -> None:
    engine, gate = engine_with(), threading.Event()
    scheduler = Scheduler(engine)

    def add(a: int) -> str:
        assert gate.wait(60)
        return "7"

    events: dict[str, list[Any]] = {"waits": [], "writes": []}
    waits = Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add", call=add)])
    writes = Team(engine, "Task", 1, prompt=prompt, names=["Bob"], sampling=GREEDY, budget=50)
    first = scheduler.submit(waits, sink=events["waits"].append)
    second = scheduler.submit(writes, sink=events["writes"].append)
    until = time.monotonic() + 60
    while not second.ended:
        assert time.monotonic() < until
        scheduler.step()
    assert len(tokens_of(events["writes"], "Bob")) == 50
    # Alice's call is longer than what Bob may write: she goes on until she waits.
    while not waits.waiting:
        assert time.monotonic() < until
        scheduler.step()
    assert not scheduler.step()
    gate.set()
    finish(scheduler)
    assert (first.state, second.state) == ("finished", "finished")
    assert events["waits"][-1].text == "It is 7."
    assert engine.pool.used_pages == 0


def test_a_job_answers_from_another_thread(prompt: Path) -> None:
    engine = engine_with()
    scheduler, events = Scheduler(engine), list[Any]()
    job = scheduler.submit(
        Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add")]), sink=events.append
    )
    running = threading.Thread(target=scheduler.run)
    running.start()
    until = time.monotonic() + 60
    while not of_kind(events, "tool_called"):
        assert time.monotonic() < until
        time.sleep(0.005)
    job.answer_tool(of_kind(events, "tool_called")[0].call, "7")
    scheduler.close(60)
    running.join(60)
    assert not running.is_alive()
    assert events[-1].text == "It is 7."


@pytest.mark.parametrize("pages", [60, 90, 256])
def test_who_was_paused_calls_nothing_twice_and_writes_the_same(prompt: Path, pages: int) -> None:
    """With few pages teams are paused, some of them while they wait, and do everything again."""
    options: dict[str, Any] = {"prompt": prompt, "sampling": GREEDY, "budget": 220, "share_prompts": False}
    alone = list(Team(engine_with(), "Task", 2, tools=[Tool("add", call=lambda a: "7")], **options).run())
    engine, calls = engine_with(pages), list[int]()

    def add(a: int) -> str:
        calls.append(a)
        time.sleep(0.01)
        return "7"

    scheduler, events = Scheduler(engine, overcommit=True), list[list[Any]]()
    for _ in range(6):
        events.append([])
        scheduler.submit(Team(engine, "Task", 2, tools=[Tool("add", call=add)], **options), sink=events[-1].append)
    finish(scheduler)
    assert len(calls) == 6 * len(of_kind(alone, "tool_called"))
    assert scheduler.stats.pauses > 0 or pages == 256
    for one in events:
        assert one[-1].kind == "finished"
        ids = [event.call for event in of_kind(one, "tool_called")]
        assert ids == list(dict.fromkeys(ids))
        assert sorted(ids) == sorted(event.call for event in of_kind(one, "tool_returned"))
        for name in ("Alice", "Bob"):  # how long a tool takes decides how many passes are left
            same = zip(tokens_of(one, name), tokens_of(alone, name), strict=False)
            assert all(token == other for token, other in same)
            assert len(tokens_of(one, name)) > 60
    assert engine.pool.used_pages == 0
