"""How many pages a team may take: estimates, from above, for who admits teams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hogwild.team.team import Team

NAMES = 1.25
"""What a worker writes grows by the names and numbers before its steps, about by so much."""

STEP = 256
"""Tokens of a long step: while one moves to the history, it is there twice."""


@dataclass(frozen=True, eq=False)
class Demand:
    """Pages that a team takes to begin, and at the most. Should it take more after all, somebody is paused.

    ``tokens`` are those of its prompt, for who wants to know what teams have in common.
    """

    prompt: int
    worst: int
    tokens: npt.NDArray[np.int64]


def demand(team: Team) -> Demand:
    """What a team that has not begun will take, as if it shared its prompt with nobody."""
    engine, setup, settings = team.engine, team.setup, team.settings
    size, count = engine.pool.page_size, len(team.workers)
    tokens = np.array(setup.prompt_tokens(), dtype=np.int64)
    prompt, reserve = len(tokens), setup.reserve()
    alone = sum(len(setup.codec.encode(f"{one.prompt or ''}{one.opening or ''}")) for one in team.workers)
    # No view outgrows the model, and one that holds everything does not either: it is the finisher's.
    longest = max(engine.max_positions - reserve, prompt)
    written = prompt + int(count * settings.budget * (1 + settings.drafts) * NAMES)
    blocks = 5 + 4 * count  # the last page of each is filled in part
    begin = _pages(prompt, size) + _pages(alone, size) + _pages(reserve, size) + blocks + count
    moved = _pages(min(settings.budget, STEP), size)
    return Demand(begin, begin - _pages(prompt, size) + _pages(min(written, longest), size) + moved + 2, tokens)


def _pages(tokens: int, size: int) -> int:
    return -(-tokens // size)
