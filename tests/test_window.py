"""When the window or the pool is full: what is dropped, what stops, and that an answer comes whatever the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import LAYOUTS, ScriptedEngine, decode, encode, kinds, of_kind, result_of, run, scripted, tiny_team_engine
from hogwild import Sampling, Team, Worker
from hogwild.errors import CacheFull, WindowError
from hogwild.team.window import drop_steps

SCRIPTS = {
    "Alice": [f"Alice's step of number {i}.\n\n" for i in range(40)],
    "Bob": [f"Bob, {i}.\n\n" for i in range(80)],
    "Carol": ["c.\n\n" for _ in range(200)],
}


def history(team: Team) -> list[str]:
    """Each finished step, read from where the workspace says that its tokens are."""
    assert team.space is not None
    return [decode(step.block.tokens[step.begin : step.end]).strip(".\n") for step in team.space.steps]


def expected(team: Team) -> list[str]:
    assert team.space is not None
    return [step.text.strip(".\n") if step.number else step.text for step in team.space.steps]


# Dropping.


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_oldest_steps_leave_the_view(prompt: Path, layout: str, workers: int) -> None:
    engine = scripted(SCRIPTS, positions=400)
    options: dict[str, Any] = {"on_full": "drop", "check_every": 0, "budget": 260, "answer": "boxed"}
    team = Team(engine, "Task", workers, layout=layout, prompt=prompt, **options)
    finished, dropped, drops = 0, 0, 0
    while not team.reason:
        for event in team.step():
            finished += event.kind == "step_finished"
            if event.kind == "steps_dropped":
                dropped, drops = dropped + event.count, drops + 1
        assert team.space is not None
        if team.passes % 4 and not team.reason:
            continue
        assert history(team) == expected(team)
        assert len(team.space.steps) == finished - dropped
        assert [step.text for step in team.space.gone + team.space.steps] == sorted_by_end(team)
        assert all(len(view) <= 400 - team.setup.reserve() for view in engine.seen[-1])
    assert team.reason == "budget"
    assert drops >= min(workers, 2)
    for view in engine.seen[-1]:
        assert decode(view).count("(dropped)") == 1
        assert "(history)(dropped)" in decode(view)
        assert "Alice@1:" not in decode(view)
    team.close()
    assert engine.pool.used_pages == 0


def sorted_by_end(team: Team) -> list[str]:
    """The order of completion, known by what `SCRIPTS` gives in which pass."""
    ends = []
    for index, worker in enumerate(team.workers):
        done = 0
        for number, step in enumerate(SCRIPTS[worker.name], 1):
            done += len(encode(step))
            if done <= team.passes:
                ends.append((done, index, f"{worker.name}@{number}:{step}"))
    return [text for *_, text in sorted(ends)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_messages_and_leavers_steps_are_dropped_in_their_turn(prompt: Path, layout: str) -> None:
    """A leaver's steps are moved behind those of others that were finished later."""
    engine = scripted(SCRIPTS)
    team = Team(engine, "Task", 3, layout=layout, prompt=prompt, on_full="drop")
    for number in range(60):
        if number in (10, 40):
            team.say(f"message {number}")
        if number == 30:
            team.leave("Bob")
        if number == 45:
            team.leave("Alice")
        team.step()
    space = team.space
    assert space is not None
    texts = expected(team)
    while space.steps:
        before = len(space.steps)
        count = result_of(engine, drop_steps(space, encode("(dropped)")))
        assert len(space.steps) == before - count
        assert history(team) == expected(team) == texts[-len(space.steps) :][: len(space.steps)]
        assert decode(space.history.tokens).startswith("(dropped)")
    assert result_of(engine, drop_steps(space, encode("(dropped)"))) == 0
    assert decode(space.history.tokens) == "(dropped)"
    assert [step.text for step in space.gone if not step.number] == ["(You says message 10)", "(You says message 40)"]
    team.step()
    team.close()
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_goes_on_after_a_drop(prompt: Path, layout: str) -> None:
    """Random text hardly ever ends a step: here every token does, as the model is pushed to."""
    engine = tiny_team_engine(positions=512)
    events = run(
        Team(
            engine, "Task", [Worker("A", opening="?"), Worker("B", opening="?")], layout=layout, prompt=prompt,
            on_full="drop", budget=60, sampling=Sampling(temperature=1.0),
        )
    )  # fmt: skip
    assert events[-1].reason in ("budget", "window")
    assert engine.pool.used_pages == 0


def test_a_drop_on_a_full_pool_changes_nothing(prompt: Path) -> None:
    engine = scripted(SCRIPTS, pages=30)
    team = Team(engine, "Task", 2, prompt=prompt)
    for _ in range(150):
        team.step()
    space = team.space
    assert space is not None
    taken = engine.block()
    taken.reserve(engine.pool.free_pages * engine.pool.page_size)
    used, before = engine.pool.used_pages, (history(team), space.history.tokens, len(space.gone))
    with pytest.raises(CacheFull):
        result_of(engine, drop_steps(space, encode("(dropped)")))
    assert (history(team), space.history.tokens, len(space.gone)) == before
    assert engine.pool.used_pages == used
    team.close()


def test_one_step_that_fills_the_window_stops_the_team(prompt: Path) -> None:
    engine = scripted({"Alice": ["x" * 900]}, positions=512, answer="1}")
    events = run(Team(engine, "Task", 2, prompt=prompt, on_full="drop", answer="boxed"))
    assert (events[-1].reason, events[-1].answer) == ("window", "1")


# Any size of window or pool.


@pytest.mark.parametrize("on_full", ["stop", "drop"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_the_window_there_is_an_answer_or_one_clear_error(prompt: Path, layout: str, on_full: str) -> None:
    reasons = set()
    for positions in range(100, 900, 57):
        engine = scripted(SCRIPTS, positions=positions, answer="1}")
        reasons.add(outcome(engine, prompt, layout=layout, on_full=on_full, budget=120))
        assert all(len(view) <= positions for views in engine.seen for view in views)
    assert reasons == {"WindowError", "budget", *(["window"] if on_full == "stop" else [])}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("workers", [1, 3])
def test_whatever_the_pool_there_is_an_answer_or_one_clear_error(prompt: Path, layout: str, workers: int) -> None:
    reasons = set()
    for pages in range(4, 36, 2):
        engine = scripted(SCRIPTS, pages=pages, answer="1}")
        reasons.add(outcome(engine, prompt, layout=layout, workers=workers, budget=150))
    assert reasons == {"CacheFull", "cache", "budget"}


def outcome(engine: ScriptedEngine, prompt: Path, **options: Any) -> str:
    """Why a run ended; in every case all pages are back, and if it began there is an answer."""
    events: list[Any] = []
    try:
        events.extend(Team(engine, "Task", prompt=prompt, answer="boxed", snapshots=(5, 50), **options).run())
    except (CacheFull, WindowError) as error:
        assert "token" not in kinds(events)
        return type(error).__name__
    finally:
        assert engine.pool.used_pages == 0
    last = events[-1]
    assert (last.kind, last.answer) == ("finished", "1")
    stopped = [event.reason for event in of_kind(events, "budget_reached")]
    assert stopped == [last.reason]
    for worker, count in last.tokens.items():  # no event is lost where the pool ran full amid a pass
        assert len([e for e in of_kind(events, "token") if e.worker == worker]) == count
    return str(last.reason)


def test_with_no_room_for_an_answer_the_text_is_what_was_written(prompt: Path) -> None:
    def full() -> None:
        raise CacheFull("the pool is full")

    engine = scripted({"Alice": ["One.\n\n", "two"]})
    team = Team(engine, "Task", 2, prompt=prompt, budget=8, answer="boxed", snapshots=(7,))
    events = []
    for event in team.run():
        events.append(event)
        if event.kind == "token" and event.pass_ == 7:
            engine.hook = full
            team.stop()
    (snapshot,) = of_kind(events, "snapshot")
    last: Any = events[-1]
    assert snapshot.answer is last.answer is None
    assert snapshot.text == last.text == "Alice@1:One.\n\nAlice@2:two\n\nBob@1:xxxxxxx"
    assert last.reason == "stopped"
    assert engine.pool.used_pages == 0
