"""Teams run to their ends, all together, by an engine that does nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hogwild.engine import Engine
from hogwild.schedule.job import Job, Sink
from hogwild.schedule.scheduler import Scheduler
from hogwild.team.team import Team


def run_together(engine: Engine, teams: Sequence[Team], sinks: Sequence[Sink]) -> list[Job]:
    """Run teams that have not begun, each with a sink for its events; their jobs, which have ended, in order.

    A team that fails has the ``error`` in its job. Raises `OptionError` for a team that the pool can never hold.
    """
    scheduler = Scheduler(engine, queue_limit=max(len(teams), 1), queue_seconds=math.inf)
    jobs = [scheduler.submit(team, sink=sink) for team, sink in zip(teams, sinks, strict=True)]
    while scheduler.step():
        pass
    return jobs
