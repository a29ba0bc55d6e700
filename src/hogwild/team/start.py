"""The first event of a run: the task, and everything that is needed to run it again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hogwild.team.events import Started
from hogwild.team.versions import versions

if TYPE_CHECKING:
    from hogwild.team.team import Team


def started(team: Team) -> Started:
    """What `Team.play` says first."""
    sampling = [asdict(worker.sampling or team.sampling) for worker in team.workers]
    shares: list[Any] = list(team.setup.shares().values())
    if team.setup.one_by_one:  # who gets which is not known yet
        shares = [part.text for part in team.setup.all_parts()]
    more: dict[str, Any] = {
        "sampling": [one | {"stop": list(one["stop"])} for one in sampling],  # as JSON has it
        "assign": team.assign if isinstance(team.assign, str) else shares,
    }
    if team.asked.before or team.asked.after:
        more["messages"] = team.asked.messages
    return Started(
        **team.progress.now(),
        task=team.task,
        model=team.engine.name,
        workers=[worker.name for worker in team.workers],
        layout=team.layout.name,
        budget=team.settings.budget,
        seeds=[team.settings.seed] * len(team.workers),
        settings=team.settings.as_dict() | more,
        versions=versions(),
    )
