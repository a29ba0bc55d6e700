"""The pieces of each worker's view: just the tokens that it sees, each told for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import scripted
from hogwild import Team, Worker
from hogwild.team.views import Piece

STEPS = {"Alice": ["One two.\n\n", "Three.\n\n", "F" * 40], "Bob": ["Five six seven.\n\n", "G" * 40]}


@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_they_are_what_the_workers_see(prompt: Path, layout: str) -> None:
    team = Team(
        scripted(STEPS), "Task", [Worker("Alice", prompt="Secret."), Worker("Bob")], prompt=prompt, layout=layout
    )
    assert team.views() == {}
    list(team.prepare())
    team.say("Hello.")
    for _ in range(30):
        team.step()
        assert team.space is not None
        for member in team.space.members:
            pieces, view = team.views()[member.name], team.layout.view(team.space, member)
            assert sum(piece.tokens for piece in pieces) == sum(map(len, view))
            assert all(piece.tokens > 0 for piece in pieces)
    assert team.space is not None
    for name, pieces in team.views().items():
        assert pieces[0] == Piece("prompt", None, len(team.space.prompt))
        finished = [piece for piece in pieces if piece.kind == "history" and piece.worker is not None]
        shown = sorted(step.end - step.begin for step in team.space.steps)
        if layout != "interleaved":
            assert {piece.worker for piece in finished} == {"Alice", "Bob", "You"}
        assert sorted(piece.tokens for piece in finished) == shown
        assert [piece.worker for piece in pieces if piece.kind == "private"] == ["Alice"] * (name == "Alice")
        assert (pieces[-1].kind, pieces[-1].worker) == ("step", name)
        others = [piece.worker for piece in pieces if piece.kind == "step"][:-1]
        assert set(others) == (set() if layout == "interleaved" else {"Alice", "Bob"} - {name})
        assert [piece.kind for piece in pieces].count("others") == (layout == "combined")
    team.close()
    assert team.views() == {}
