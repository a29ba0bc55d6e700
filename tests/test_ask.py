"""Plays: a team that is driven from outside does what it does by itself, and asks for all its passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import scripted, tiny_team_engine
from hogwild import Sampling, Team
from hogwild.errors import BlockError, CacheFull, WindowError
from hogwild.team.ask import Ask, done

GREEDY = Sampling(temperature=0.0)


def without_time(events: list[Any]) -> list[dict[str, Any]]:
    return [event.model_dump(exclude={"time", "prefill_seconds", "decode_seconds"}) for event in events]


@pytest.mark.parametrize(
    "options",
    [{}, {"assign": "plan"}, {"assign": ["a", "b", "c"], "one_by_one": True}, {"drafts": 4, "snapshots": [3, 9]}],
)
def test_a_play_is_a_run(prompt: Path, options: dict[str, Any]) -> None:
    options |= {"prompt": prompt, "budget": 20, "answer": "boxed", "sampling": GREEDY}
    expected = list(Team(tiny_team_engine(), "Task", 2, **options).run())
    engine, events, passes = tiny_team_engine(), list[Any](), 0
    play, answer = Team(engine, "Task", 2, **options).play(), None
    while True:
        try:
            happened = play.send(answer)
        except StopIteration:
            break
        answer = done(engine, happened) if isinstance(happened, Ask) else None
        passes += isinstance(happened, Ask)
        events += [] if isinstance(happened, Ask) else [happened]
    assert without_time(events) == without_time(expected)
    assert passes >= 20
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize(("error", "reason"), [(CacheFull("full"), "cache"), (WindowError("long"), "window")])
def test_what_is_thrown_into_an_ask_ends_the_team_as_if_the_engine_had_raised_it(
    prompt: Path, error: Exception, reason: str
) -> None:
    engine, events, asks = scripted({"Alice": ["One, two, three, four."]}), list[Any](), 0
    play = Team(engine, "Task", 1, prompt=prompt).play()
    happened = next(play)
    while not (isinstance(happened, Ask) and (asks := asks + 1) == 8):
        events.append(happened)
        happened = play.send(done(engine, happened) if isinstance(happened, Ask) else None)
    events += [play.throw(error), *play]
    assert [event.reason for event in events[-2:]] == [reason, reason]
    assert events[-1].text == "Alice@1:One,"  # nothing more is asked: what one alone has written is the answer
    assert engine.pool.used_pages == 0


def test_a_play_that_is_closed_at_an_ask_gives_its_pages_back(prompt: Path) -> None:
    engine = scripted()
    for stop_at in range(1, 12):
        play = Team(engine, "Task", 2, prompt=prompt, budget=3, answer="boxed", snapshots=[1]).play()
        happened, asks = next(play), 0
        while not isinstance(happened, Ask) or (asks := asks + 1) < stop_at:
            happened = play.send(done(engine, happened) if isinstance(happened, Ask) else None)
        play.close()
        assert engine.pool.used_pages == 0


def test_an_error_of_the_driver_is_raised_where_the_team_has_asked(prompt: Path) -> None:
    engine = scripted()
    play = Team(engine, "Task", 2, prompt=prompt).play()
    while not isinstance(next(play), Ask):
        pass
    with pytest.raises(BlockError, match="a bug"):
        play.throw(BlockError("a bug"))
    assert engine.pool.used_pages == 0
