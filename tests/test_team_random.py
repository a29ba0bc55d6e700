"""Teams under anything that may happen: any layout, size and wish, and what must hold all the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import ScriptedEngine, decode, kinds, of_kind, prompt_folder, scripted
from hogwild import Team, Worker
from hogwild.errors import CacheFull, OptionError, WindowError
from hogwild.team.events import EVENT

NAMES = ["Alice", "Bob", "Carol", "Dave"]
STEPS = st.lists(
    st.sampled_from(["a.\n\n", "Some more words.\n\n", "- x,\n\n- y!\n\n", "Is it ü?\n\n", "z"]), max_size=12
)
WISHES = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["Hi", "long " * 30])),
    st.tuples(st.just("join"), st.sampled_from([*NAMES, "Eve", "Zoe"])),
    st.tuples(st.just("leave"), st.sampled_from([*NAMES, "Eve"])),
    st.tuples(st.just("stop"), st.just("")),
)
OPTIONS = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 4),
        "layout": st.sampled_from(["contiguous", "interleaved", "combined"]),
        "on_full": st.sampled_from(["stop", "drop"]),
        "answer": st.sampled_from(["text", "boxed", "number"]),
        "assign": st.sampled_from(["none", "plan", ["1", "2", "3", "4"]]),
        "budget": st.integers(1, 120),
        "check_every": st.sampled_from([0, 7, 50]),
        "drafts": st.sampled_from([0, 0, 3, 9]),
        "snapshots": st.lists(st.integers(1, 100), max_size=3),
    }
)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prompt_folder(tmp_path_factory.mktemp("prompt"))


def wish(team: Team, kind: str, what: str) -> None:
    wishes: dict[str, Callable[[], None]] = {
        "say": lambda: team.say(what),
        "join": lambda: team.join(Worker(what, prompt="late")),
        "leave": lambda: team.leave(what),
        "stop": team.stop,
    }
    with suppress(OptionError):  # such a name is not there, or is already
        wishes[kind]()


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    options=OPTIONS,
    steps=st.lists(STEPS, min_size=4, max_size=4),
    wishes=st.lists(st.tuples(st.integers(0, 80), WISHES), max_size=5),
    positions=st.integers(300, 1200),
    pages=st.integers(12, 60),
)
def test_a_run_ends_well_whatever_happens(
    prompt: Path,
    options: dict[str, Any],
    steps: list[list[str]],
    wishes: list[tuple[int, tuple[str, str]]],
    positions: int,
    pages: int,
) -> None:
    engine = scripted(
        dict(zip(NAMES, steps, strict=True)), answer="1\n}", plan="1. a\n2. b", positions=positions, pages=pages
    )
    team = Team(engine, "Task", prompt=prompt, answer_tokens=8, **options)
    events: list[Any] = []
    try:
        for event in team.run():
            for when, asked in wishes:
                if len(events) == when:
                    wish(team, *asked)
            events.append(event)
    except (CacheFull, WindowError):
        assert "token" not in kinds(events)
    else:
        check_events(events, options)
        check_views(engine, positions)
    assert engine.pool.used_pages == 0


def check_events(events: list[Any], options: dict[str, Any]) -> None:
    last = events[-1]
    assert (kinds(events)[0], last.kind) == ("started", "finished")
    assert [EVENT.validate_json(event.model_dump_json(by_alias=True)) for event in events] == events
    assert [event.pass_ for event in events] == sorted(event.pass_ for event in events)
    assert last.passes <= options["budget"]
    assert last.reason in ("done", "budget", "window", "cache", "stopped")
    assert [event.reason for event in of_kind(events, "budget_reached")] == [last.reason] * (last.reason != "done")
    for name, count in last.tokens.items():
        written = [event for event in of_kind(events, "token") if event.worker == name]
        left = [event for event in of_kind(events, "worker_left") if event.worker == name]
        assert count - len(written) in (0, len([event for event in left if event.reason == "done"]))
        numbers = [event.step for event in of_kind(events, "step_started") if event.worker == name]
        assert numbers == list(range(1, len(numbers) + 1))
    for step in of_kind(events, "step_finished"):
        pieces = [e.text for e in of_kind(events, "token") if (e.worker, e.step) == (step.worker, step.step)]
        assert step.text.endswith("".join(pieces).strip())
    if last.answer is None:  # then all that was written is shown
        assert all(step.text in last.text for step in of_kind(events, "step_finished"))


def check_views(engine: ScriptedEngine, positions: int) -> None:
    for views in engine.seen:
        assert all(len(view) <= positions for view in views)
        assert all(decode(view).count("<|im_start|>") == 2 for view in views)
