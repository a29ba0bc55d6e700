"""Drafts, and what comes after the workers: the finisher, snapshots, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import (
    of_kind,
    run,
    scripted,
    tiny_team_engine,
)
from hogwild import Sampling, Team
from hogwild.errors import OptionError


def test_the_finisher_drafts_too_and_answers_the_same(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, fed = [], []
    code = "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return f(x) + f(x)\n"
    for drafts in (0, 8):
        engine = scripted({"Alice": [f"I write:\n```\n{code}```\n\n"]}, answer=f"\n{code}```\n")
        events = run(Team(engine, "Task", 2, prompt=prompt, drafts=drafts, answer="code", budget=40))
        answers.append((events[-1].answer, "".join(event.text for event in of_kind(events, "answer_token"))))
        fed.append(len(engine.seen))
    assert answers[0] == answers[1] != (None, "")
    assert fed[1] < 0.6 * fed[0]


@pytest.mark.parametrize("form", ["text", "code"])
def test_a_computed_answer_is_the_same_with_drafts(prompt: Path, form: str) -> None:
    texts = []
    for drafts in (0, 5):
        engine = tiny_team_engine()
        monkey = Team(
            engine, "tick tock " * 5, 2, prompt=prompt, answer=form, answer_tokens=60, budget=1, drafts=drafts,
            sampling=Sampling(temperature=0.5, repetition_penalty=1.05),
        )  # fmt: skip
        texts.append(run(monkey)[-1].text)
    assert texts[0] == texts[1]


def test_snapshots_do_not_change_a_run_with_drafts(prompt: Path) -> None:
    def tokens(**options: Any) -> list[tuple[str, int]]:
        team = Team(tiny_team_engine(), "tick tock " * 5, 2, prompt=prompt, drafts=6, budget=20, **options)
        return [(event.worker, event.token) for event in of_kind(run(team), "token")]

    assert tokens(snapshots=(3, 9), answer="code") == tokens(answer="code")


@pytest.mark.parametrize("drafts", [-1, 2.5, True, "4"])
def test_a_number_of_drafts_that_cannot_be(prompt: Path, drafts: Any) -> None:
    with pytest.raises(OptionError, match="drafts is"):
        Team(scripted(), "Task", drafts=drafts)
