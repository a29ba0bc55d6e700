"""Workers that begin their steps one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import LAYOUTS, scripted
from hogwild import Team
from hogwild.errors import OptionError
from hogwild.team.events import Token

STEPS = {"Alice": ["One.\n\n"] * 3, "Bob": ["Two.\n\n"] * 3, "Carol": ["Three more.\n\n", "So.\n\n"]}


def passes(prompt: Path, **options: Any) -> dict[tuple[str, int], list[int]]:
    """The passes in which each worker wrote each of its steps."""
    team = Team(scripted(STEPS), "Task", 3, prompt=prompt, budget=60, **options)
    found: dict[tuple[str, int], list[int]] = {}
    for event in team.run():
        if isinstance(event, Token):
            found.setdefault((event.worker, event.step), []).append(event.pass_)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_begins_in_a_pass_and_the_others_go_on(prompt: Path, layout: str) -> None:
    together, apart = passes(prompt, layout=layout), passes(prompt, layout=layout, in_turn=True)
    assert len({written[0] for written in together.values()}) < len(together)  # it does make a difference
    assert len({written[0] for written in apart.values()}) == len(apart)
    for written in apart.values():
        assert written == list(range(written[0], written[0] + len(written)))  # nobody is held back within a step
    assert [apart[name, 1][0] for name in ("Alice", "Bob", "Carol")] == [1, 2, 3]


def test_who_has_begun_fewer_steps_is_next(prompt: Path) -> None:
    """Alice, whose steps are the shortest, does not keep the others from theirs."""
    steps = {"Alice": [".\n\n"] * 20, "Bob": [".\n\n"] * 20, "Carol": [".\n\n"] * 20}
    team, begun = Team(scripted(steps), "Task", 3, prompt=prompt, budget=30, in_turn=True), dict[str, int]()
    for event in team.run():
        if isinstance(event, Token):
            begun[event.worker] = event.step
            assert max(begun.values()) - min(begun.values()) <= 1


def test_it_is_yes_or_no(prompt: Path) -> None:
    with pytest.raises(OptionError, match="in_turn is 1"):
        Team(scripted(), "Task", 2, prompt=prompt, in_turn=1)
