"""The service behind the routes: one engine, one scheduler in a thread of its own, and the records of its teams."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from hogwild.engine import Engine
from hogwild.errors import QueueFull
from hogwild.schedule import Job, Scheduler
from hogwild.server.errors import ApiError
from hogwild.server.metrics import Metrics
from hogwild.server.record import TeamRecord
from hogwild.server.settings import ServerSettings
from hogwild.team.team import Team

Result = TypeVar("Result")


class Service:
    """Teams over one engine. ``scheduler`` is by default a `Scheduler` with its own defaults.

    Attributes: ``engine``, ``settings``, ``name`` (of the model, for clients), ``metrics``, ``stopping``.
    """

    def __init__(
        self, engine: Engine, settings: ServerSettings | None = None, scheduler: Scheduler | None = None
    ) -> None:
        scheduler = scheduler or Scheduler(engine)
        self.engine = engine
        self.settings = settings or ServerSettings()
        self.name = self.settings.name or engine.name.rstrip("/").rsplit("/", 1)[-1]
        self.scheduler = scheduler
        self.metrics = Metrics(scheduler)
        self.stopping = False
        self._records: dict[str, TeamRecord] = {}
        self._lock = threading.Lock()
        self._open = Counter[tuple[str, str]]()
        self._aside = ThreadPoolExecutor(1, "hogwild-aside")
        self._thread = threading.Thread(target=scheduler.run, name="hogwild-scheduler", daemon=True)

    def start(self) -> None:
        """Let the scheduler run."""
        self._thread.start()

    def close(self, grace: float | None = None) -> None:
        """Take no more teams; give the running ones so many seconds, and wait for their end."""
        with self._lock:
            first, self.stopping = not self.stopping, True
        if first and self._thread.is_alive():
            self.scheduler.close(self.settings.grace if grace is None else grace)
        if self._thread.is_alive():
            self._thread.join()
        self._aside.shutdown()

    @property
    def healthy(self) -> bool:
        """Whether the scheduler's thread lives."""
        return self._thread.is_alive() and not self.stopping

    async def aside(self, work: Callable[..., Result], *args: Any) -> Result:
        """Do something that takes a while, out of the event loop: one at a time, as the passes need Python as well."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._aside, partial(work, *args))

    def _check_open(self) -> None:
        if self.stopping:
            raise ApiError(503, "the server is stopping; try another one or later", code="stopping")

    # Teams.

    def submit(self, makers: Sequence[Callable[[], Team]], key: str, model: str, kept: bool) -> list[TeamRecord]:
        """Make some teams and hand them to the scheduler: all of them, or none. Takes a while: not in an event loop.

        Raises `ApiError` (429, 503), `OptionError` and what else the teams raise.
        """
        self._check_open()
        if self.scheduler.stats.queued >= self.scheduler.queue_limit:  # before any work is put into them
            raise QueueFull("too many teams are waiting already: try again in a while")
        self.acquire("team", key, len(makers))
        records, left = list[TeamRecord](), len(makers)
        try:
            for make in makers:
                record = TeamRecord(f"team-{uuid.uuid4().hex}", key, make(), model, kept)
                records.append(record)
                self._submit(record)
                left -= 1
        except BaseException:
            for record in records[: len(makers) - left]:
                self.cancel(record)
            self.release("team", key, left)
            raise
        return records

    def _submit(self, record: TeamRecord) -> None:
        with self._lock:
            self._forget_old()
            self._records[record.id] = record
        try:
            record._job = self.scheduler.submit(
                record.team,
                key=record.key,
                deadline=self.settings.request_seconds,
                sink=self.metrics.watching(record.write),
                done=partial(self._done, record),
            )
        except BaseException:
            self._records.pop(record.id, None)
            raise

    def _done(self, record: TeamRecord, job: Job) -> None:
        """In the scheduler's thread: a job has ended."""
        record._job = job
        self.metrics.ended(record)
        self.release("team", record.key)
        record.end()

    def cancel(self, record: TeamRecord) -> None:
        """Stop a team within a pass; its pages come back. Does nothing for one that has ended."""
        if record.ended is None:
            record.job.cancel()

    def forget(self, record: TeamRecord) -> None:
        """Keep nothing of a team that has ended."""
        self._records.pop(record.id, None)

    def records(self, key: str) -> list[TeamRecord]:
        """The teams of a key, the newest first."""
        with self._lock:
            self._forget_old()
            return [record for record in reversed(self._records.values()) if record.key == key]

    def record(self, team: str, key: str) -> TeamRecord:
        """A team by its id. Raises `ApiError` (404) where this key has none of that id."""
        record = self._records.get(team)
        if record is None or record.key != key:
            raise ApiError(404, f"there is no team {team[:80]!r}: it never was, or is no longer kept", param="team")
        return record

    def _forget_old(self) -> None:
        """Bound the memory of what has ended, by time and by number."""
        now = time.monotonic()
        ended = [record for record in self._records.values() if record.ended is not None]
        ended.sort(key=lambda record: record.ended or 0.0)
        surplus = max(0, len(ended) - self.settings.keep_teams)
        for place, record in enumerate(ended):
            if place < surplus or now - (record.ended or now) > self.settings.keep_seconds:
                del self._records[record.id]

    # What one key may have open at once.

    def acquire(self, kind: str, key: str, count: int = 1) -> None:
        """Count ``count`` more open teams or streams. Raises `ApiError`: 429 over ``max_open``, 400 if always so."""
        most = self.settings.max_open
        if count > most:
            raise ApiError(400, f"this asks for {count} {kind}s at once: a key may have {most} open here", param="n")
        with self._lock:
            if self._open[kind, key] + count > most:
                said = f"this key has {self._open[kind, key]} open {kind}s and may have {most}"
                raise ApiError(429, f"{said}; wait until some have ended", code="too_many_open")
            self._open[kind, key] += count

    def release(self, kind: str, key: str, count: int = 1) -> None:
        """So many have ended."""
        with self._lock:
            self._open[kind, key] -= count
            if not self._open[kind, key]:
                del self._open[kind, key]
