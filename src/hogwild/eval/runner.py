"""Does the units of an evaluation, several at once, through one scheduler.

A method is a generator that yields teams: all teams of all methods at work are run together, and who has all of a
stage's results goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hogwild.engine import Engine
from hogwild.errors import HogwildError, OptionError
from hogwild.eval.outcome import Method, Outcome, Question, Reading, Run, TeamResult
from hogwild.eval.problem import Problem, Score, Task
from hogwild.eval.records import TEXT_LIMIT, Record, Unit
from hogwild.sampling import Sampling
from hogwild.schedule import Job, Scheduler
from hogwild.team.events import Event
from hogwild.team.worker import MAX_WORKERS

Todo = tuple[Problem, Unit, Sequence[int]]
"""A unit that is to be done, its problem, and the budgets in passes."""

REST = 0.01
"""Seconds to wait where there is no pass to be done: somebody waits for a tool."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A unit that has ended: a record for each budget, and the events of its teams."""

    unit: Unit
    records: Sequence[Record]
    traces: Sequence[Sequence[Event]]

    @property
    def error(self) -> str | None:
        """Why it failed, or None."""
        return self.records[0].error


class Runner:
    """Runs methods on problems with an engine that nobody else uses meanwhile.

    ``parallel`` units are at work at once. With one, prompts that earlier units have read are forgotten before each:
    then a unit gives the same whatever was done before it, in any dtype. With more, results are the same in float32 as
    far as `hogwild.schedule` goes, and round otherwise in lower precision. Raises `OptionError` for what cannot be.
    """

    def __init__(
        self, engine: Engine, task: Task, methods: Sequence[Method], sampling: Sampling, *, parallel: int = 1
    ) -> None:
        if parallel < 1:
            raise OptionError(f"parallel is {parallel}: give 1 or more")
        self.engine, self.task, self.sampling, self.parallel = engine, task, sampling, parallel
        self.methods = {method.name: method for method in methods}
        self.scheduler = Scheduler(engine, max_teams=parallel * MAX_WORKERS, queue_limit=2**31, queue_seconds=math.inf)

    def check(self, problem: Problem, budgets: Sequence[int]) -> None:
        """Raise `OptionError` for a method that cannot do this problem, before anything is done."""
        for method in self.methods.values():
            method.run(self.engine, self._question(problem, 0, budgets)).close()

    def run(self, todo: Iterable[Todo]) -> Iterator[Done]:
        """Do all units, which begin in order; each comes out when it has ended, the failed ones as well.

        Closing the iterator ends what is at work.
        """
        waiting, working = deque(todo), list[_Work]()
        try:
            while waiting or working:
                while waiting and len(working) < self.parallel:
                    working.append(self._begin(*waiting.popleft()))
                ended = [work for work in working if work.advance(self.scheduler)]
                working = [work for work in working if work not in ended]
                yield from map(self._done, ended)
                if working and not self.scheduler.step() and all(work.waits for work in working):
                    time.sleep(REST)
        finally:
            for work in working:
                work.close()
            self.scheduler.step()  # which ends what was cancelled

    def _begin(self, problem: Problem, unit: Unit, budgets: Sequence[int]) -> _Work:
        if self.parallel == 1:
            self.engine.prefixes.clear()
        method = self.methods[unit.method]
        return _Work(
            problem, unit, budgets, lambda: method.run(self.engine, self._question(problem, unit.seed, budgets))
        )

    def _question(self, problem: Problem, seed: int, budgets: Sequence[int]) -> Question:
        return Question(problem, budgets, seed, self.sampling, self.task.answer_tokens)

    def _done(self, work: _Work) -> Done:
        """The records of what has ended. What a score makes fail is an error of the unit, as all else."""
        outcome, unit, wall = work.outcome, work.unit, time.perf_counter() - work.began
        assert outcome is not None, "it has ended"
        readings = {reading.budget: reading for reading in outcome.readings}
        error, scores = outcome.error, dict[tuple[str | None, str], Score]()
        made = list[tuple[Reading, Score]]()
        for budget in work.budgets:
            reading = readings.get(budget) or Reading(budget, None, "", 0, 0, 0.0, "error")
            key = reading.answer, reading.text
            try:
                score = scores.get(key) or self.task.score(work.problem, *key)
            except Exception as failed:  # the task's own fault, which must not cost the other units
                _log.exception("the answer of %s cannot be scored", unit)
                error, score = error or f"the score failed: {_one_line(failed)}", Score(0.0, "nothing")
            scores[key] = score
            made.append((reading, score))
        return Done(unit, [_record(unit, error, wall, *pair) for pair in made], outcome.traces)


class _Work:
    """A unit at work: its generator, and the jobs of the stage that it is in."""

    def __init__(self, problem: Problem, unit: Unit, budgets: Sequence[int], start: Callable[[], Run]) -> None:
        self.problem, self.unit, self.budgets = problem, unit, budgets
        self.began = time.perf_counter()
        self.outcome: Outcome | None = None
        self._start = start
        self._run: Run | None = None
        self._stage: list[tuple[Job, list[Event]]] = []
        self._traces: list[list[Event]] = []

    @property
    def waits(self) -> bool:
        """Whether some team of its stage has not ended."""
        return not all(job.ended for job, _ in self._stage)

    def advance(self, scheduler: Scheduler) -> bool:
        """Go on if the stage is over, perhaps to the next one; whether the unit has ended."""
        try:
            while not self.waits and self.outcome is None:
                self._next(scheduler)
        except StopIteration as end:
            self.outcome = end.value
        except HogwildError as error:
            self._fail(_one_line(error))
        except Exception as error:  # a method's own fault
            _log.exception("%s failed", self.unit)
            self._fail(f"{type(error).__name__}: {_one_line(error)}")
        return self.outcome is not None

    def _next(self, scheduler: Scheduler) -> None:
        if self._run is None:
            self._run = self._start()
            teams = next(self._run)
        else:
            teams = self._run.send([_result(job, events) for job, events in self._stage])
        self._stage = []
        for team in teams:
            events = list[Event]()
            self._stage.append((scheduler.submit(team, sink=events.append), events))
            self._traces.append(events)

    def _fail(self, error: str) -> None:
        """The unit has failed outside of its teams: they go, and what they have told stays."""
        self.outcome = Outcome((), self._traces, error)
        self.close()

    def close(self) -> None:
        """End it, whatever it does."""
        for job, _ in self._stage:
            job.cancel()
        if self._run is not None:
            self._run.close()


def _result(job: Job, events: Sequence[Event]) -> TeamResult:
    if job.error is None and job.state != "finished":
        return TeamResult(events, f"the team was {job.state}")
    return TeamResult(events, None if job.error is None else _one_line(job.error))


def _record(unit: Unit, error: str | None, wall: float, reading: Reading, score: Score) -> Record:
    failed = reading.reason == "error" and reading.answer is None
    return Record(
        unit.problem,
        unit.method,
        unit.seed,
        reading.budget,
        reading.answer,
        reading.text[:TEXT_LIMIT],
        0.0 if failed else score.value,
        "nothing" if failed else score.status,
        tuple(score.parts),
        reading.passes,
        reading.tokens,
        reading.reason,
        error,
        reading.seconds,
        wall,
    )


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
