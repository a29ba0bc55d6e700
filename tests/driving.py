"""For the tests of methods: one method on one problem, by an engine that does nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hogwild.engine import Engine
from hogwild.errors import HogwildError
from hogwild.eval.outcome import Method, Outcome, Question, TeamResult
from hogwild.schedule import Job, Scheduler
from hogwild.team.events import Event
from hogwild.team.team import Team


def play_alone(engine: Engine, method: Method, question: Question) -> Outcome:
    """Run a method to its end. Raises `OptionError` for a problem that it cannot do; a team that fails is a reading."""
    run = method.run(engine, question)
    try:
        teams = next(run)
        while True:
            teams = run.send(run_together(engine, teams))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def run_together(engine: Engine, teams: Sequence[Team]) -> list[TeamResult]:
    """Run teams in fused passes; what became of each, in order."""
    scheduler = Scheduler(engine, queue_limit=max(len(teams), 1), queue_seconds=math.inf)
    events: list[list[Event]] = [[] for _ in teams]
    jobs, errors = dict[int, Job](), dict[int, str]()
    for number, team in enumerate(teams):
        try:
            jobs[number] = scheduler.submit(team, sink=events[number].append)
        except HogwildError as error:
            errors[number] = str(error)
    while scheduler.step():
        pass
    errors |= {number: str(job.error) for number, job in jobs.items() if job.error is not None}
    return [TeamResult(told, errors.get(number)) for number, told in enumerate(events)]
