"""A scheduler that runs teams one after another, each by its own ``run()``: for tests of the server alone."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hogwild import Event, HogwildError, Team, Worker
from hogwild.engine import Engine
from hogwild.errors import OptionError


class StandInJob:
    def __init__(self, team: Team, key: str, deadline: float | None, sink: Any, done: Any) -> None:
        self.id, self.key, self.team = f"job-{id(self)}", key, team
        self.state = "queued"
        self.error: HogwildError | None = None
        self.sink, self.done = sink, done
        self.until = None if deadline is None else time.monotonic() + deadline
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def stop(self) -> None:
        self.team.stop()

    def say(self, text: str, name: str = "You") -> None:
        self.team.say(text, name)

    def join(self, worker: Worker) -> None:
        self.team.join(worker)

    def leave(self, name: str) -> None:
        self.team.leave(name)

    def answer_tool(self, call: str, result: str) -> None:
        raise OptionError(f"no worker waits for call {call!r}")

    def run(self) -> None:
        try:
            self.state = "running"
            events: Any = self.team.run()
            for event in events:
                self.sink(event)
                if self.cancelled or (self.until and time.monotonic() > self.until):
                    events.close()
                    self.state = "cancelled" if self.cancelled else "expired"
                    return
            self.state = "finished"
        except HogwildError as error:
            self.state, self.error = "failed", error
        finally:
            self.done(self)


class StandIn:
    def __init__(self, engine: Engine, *, queue_limit: int = 256, pause: float = 0.0) -> None:
        self.queue: queue.Queue[StandInJob | None] = queue.Queue()
        self.limit = queue_limit
        self.stats = SimpleNamespace(passes=0, queued=0, running=0)
        self.jobs: list[StandInJob] = []
        self.ids = itertools.count()

    def submit(
        self,
        team: Team,
        *,
        key: str = "",
        deadline: float | None = None,
        sink: Callable[[Event], None] = lambda event: None,
        done: Callable[[Any], None] = lambda job: None,
    ) -> StandInJob:
        if self.queue.qsize() >= self.limit:
            raise type("QueueFull", (HogwildError,), {})("the queue is full: try again in a while")
        job = StandInJob(team, key, deadline, sink, done)
        self.jobs.append(job)
        self.queue.put(job)
        return job

    def run(self) -> None:
        while (job := self.queue.get()) is not None:
            if job.cancelled:
                job.state = "cancelled"
                job.done(job)
            else:
                job.run()

    def close(self, grace: float = 0.0) -> None:
        for job in self.jobs:
            job.stop()
        self.queue.put(None)
