"""A run that is done again: the same tokens and events up to where it was broken off, and on from there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import prompt_folder, tiny_team_engine
from hogwild import Engine, Sampling, Team, Worker, sampling
from hogwild.errors import HogwildError, OptionError
from hogwild.team import chooser
from hogwild.team.ask import Ask, done

WISHES = ("say", "join", "leave", "stop")


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prompt_folder(tmp_path_factory.mktemp("prompt"))


def wish(team: Team, what: str) -> None:
    with suppress(OptionError):
        match what:
            case "say":
                team.say("Hello")
            case "join":
                team.join(Worker("Eve", prompt="late"))
            case "leave":
                team.leave("Alice")
            case "stop":
                team.stop()


def play(engine: Engine, team: Team, wishes: dict[int, str], until: int | None = None) -> list[Any]:
    """Events of a team, with wishes before some of its asks, up to ask number ``until``."""
    playing, events, asks, answer = team.play(), list[Any](), 0, None
    with suppress(StopIteration):
        while True:
            happened = playing.send(answer)
            answer = None
            if not isinstance(happened, Ask):
                events.append(happened)
                continue
            if asks == until:
                break
            wish(team, wishes.get(asks, ""))
            answer, asks = done(engine, happened), asks + 1
    playing.close()
    assert engine.pool.used_pages == 0
    return [event.model_dump(exclude={"time", "prefill_seconds", "decode_seconds"}) for event in events]


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    workers=st.integers(1, 3),
    options=st.fixed_dictionaries(
        {
            "layout": st.sampled_from(["contiguous", "interleaved", "combined"]),
            "assign": st.sampled_from(["none", "none", "plan"]),
            "answer": st.sampled_from(["text", "boxed"]),
            "drafts": st.sampled_from([0, 0, 4]),
            "snapshots": st.lists(st.integers(1, 20), max_size=2),
            "budget": st.integers(1, 25),
        }
    ),
    wishes=st.dictionaries(st.integers(0, 40), st.sampled_from(WISHES), max_size=4),
    until=st.integers(0, 50),
    later=st.sampled_from(["", "", *WISHES]),
)
def test_a_run_that_is_done_again_is_the_same_run(
    prompt: Path, workers: int, options: dict[str, Any], wishes: dict[int, str], until: int, later: str
) -> None:
    engine = tiny_team_engine()
    options |= {"prompt": prompt, "answer_tokens": 6, "share_prompts": False, "sampling": Sampling(temperature=0.9)}
    whole = play(engine, Team(engine, "tick tock", workers, **options), wishes)
    team = Team(engine, "tick tock", workers, **options)
    begun = play(engine, team, wishes, until)
    assert begun == whole[: len(begun)]
    later = "" if begun and begun[-1]["kind"] == "finished" else later
    wish(team, later)  # while it is away
    twin = team.again()
    with pytest.MonkeyPatch.context() as patch:
        real = sampling.sample

        def sample(*arguments: Any, **named: Any) -> int:
            assert twin.setup.record.time >= known, "what is known is not sampled again"
            return real(*arguments, **named)

        known = twin.setup.record.end
        patch.setattr(chooser, "sample", sample)
        rest = play(engine, twin, {when: what for when, what in wishes.items() if when >= until})
    assert rest[: len(begun)] == begun
    assert later or rest == whole


def test_only_the_twin_may_run(prompt: Path) -> None:
    team = Team(tiny_team_engine(), "Task", 2, prompt=prompt, budget=2)
    list(team.run())
    assert [event.kind for event in team.again().run()][-1] == "finished"
    with pytest.raises(HogwildError, match="begun"):
        list(team.run())
    team.rewind()
    assert [event.kind for event in team.run()][-1] == "finished"
