"""The scheduler: many teams over one engine, all their rows in one pass, in one thread.

scheduler = Scheduler(engine)
job = scheduler.submit(Team(engine, "What is 17 * 24?"), sink=print)
while scheduler.step():
    pass
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition
from weakref import WeakMethod

from torch import Tensor

from hogwild.engine import Engine, Row
from hogwild.errors import CacheFull, HogwildError, OptionError, QueueFull
from hogwild.sampling import on_cpu
from hogwild.schedule.demand import demand
from hogwild.schedule.job import Job, Sink, State
from hogwild.schedule.line import Lines
from hogwild.schedule.pending import Pending
from hogwild.schedule.stats import Stats
from hogwild.team.ask import Ask, Wait
from hogwild.team.events import Event, Token
from hogwild.team.team import Team

LEAST_PROMPT = 1 / 8
"""The share of ``pass_tokens`` that prompts are read with, however many workers write."""

LAST_SECONDS = 20.0
"""After the grace of `Scheduler.close`: so long may teams take to answer from what there is."""

POLL = 0.01
"""Seconds between two looks at what nobody tells of: tools that return, times that are over."""

_log = logging.getLogger(__name__)


class _Evicted(Exception):
    """The newest team itself wants pages that are not there: it is paused, from within its own work."""


def ignore(_: object) -> None:
    """What nobody wants to know."""


class Scheduler:
    """Runs teams together on an engine that nobody else uses meanwhile.

    Each pass holds all rows of all running teams, and as much of new prompts as fits into ``pass_tokens`` (an eighth of
    them at least). So a running team is in every pass, and its longest wait is that of one pass of about
    ``max(pass_tokens, rows + pass_tokens / 8)`` tokens. ``max_teams`` run at once. A team is admitted when the most
    pages that it may take can be held or, with ``overcommit``, those of its prompt; if the pool runs dry after all, the
    newest team is paused: its blocks go, and are made again from its own tokens when there is room. At most
    ``queue_limit`` teams wait, ``queue_seconds`` each, and those of each key take turns. ``isolate``: prompts that were
    read are shared within one key only, and only whole ones.

    Attributes: ``engine``, ``stats``. Raises `OptionError` for what cannot be.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_teams: int = 64,
        pass_tokens: int = 512,
        overcommit: bool = False,
        queue_limit: int = 256,
        queue_seconds: float = 60.0,
        isolate: bool = False,
    ) -> None:
        for name, value in (("max_teams", max_teams), ("pass_tokens", pass_tokens), ("queue_limit", queue_limit)):
            if not isinstance(value, int) or value < 1:
                raise OptionError(f"{name} is {value!r}: give a whole number of 1 or more")
        if engine.ranks.size > 1:
            raise OptionError("a scheduler needs an engine of its own process: load it without tensor_parallel")
        self.engine = engine
        self.max_teams, self.pass_tokens, self.overcommit = max_teams, pass_tokens, overcommit
        self.queue_limit, self.queue_seconds, self.isolate = queue_limit, queue_seconds, isolate
        self._stats = Stats()
        self._queue = Lines()
        self._live = list[Job]()  # admitted, the oldest first
        self._paused = list[Job]()
        self._current: Job | None = None  # whose own work is being done
        self._wake = Condition()
        self._news = False
        self._closing = math.inf  # when the grace is over
        relieve = WeakMethod(self._relieve)  # a cycle would keep the pool's memory

        def relieved(count: int) -> None:
            if (method := relieve()) is not None:
                method(count)

        engine.pool.relieve = relieved

    @property
    def stats(self) -> Stats:
        """The numbers so far; what is read from another thread may be a moment old."""
        pool, stats = self.engine.pool, self._stats
        stats.queued, stats.running, stats.paused = len(self._queue), len(self._live), len(self._paused)
        stats.pages_used, stats.pages_total = pool.used_pages, pool.total_pages
        return stats

    # From any thread.

    def submit(
        self,
        team: Team,
        *,
        key: str = "",
        deadline: float | None = None,
        sink: Sink = ignore,
        done: Callable[[Job], None] = ignore,
    ) -> Job:
        """Queue a team that has not begun. ``deadline`` is in seconds from now; then it ends, however far it is.

        ``sink`` gets its events and ``done`` the job at its end, once, both in the scheduler's thread: they must return
        at once. Raises `QueueFull`, and `OptionError` for a team that this pool can never hold.
        """
        if team.engine is not self.engine:
            raise OptionError("this team has another engine than the scheduler")
        need = demand(team)
        least, pool = need.prompt if self.overcommit else need.worst, self.engine.pool
        if least > pool.total_pages:
            raise OptionError(
                f"the team may need {least} pages of {pool.page_size} tokens, and the pool has {pool.total_pages}: "
                "lower its budget or its number of workers, or give the engine more kv_memory"
            )
        until = None if deadline is None else time.monotonic() + deadline
        job = Job(team, key, need, sink, done, self._notify, until)
        with self._wake:
            if self._closing < math.inf:
                raise QueueFull("the scheduler is closing and takes no more teams")
            if len(self._queue) >= self.queue_limit:
                raise QueueFull(f"{len(self._queue)} teams are waiting already, and no more may: try again in a while")
            self._queue.add(job)
            self._stats.submitted += 1
        self._notify()
        return job

    def close(self, grace: float = 0.0) -> None:
        """Take no more teams. What waits is cancelled; what runs has ``grace`` seconds to finish, and then answers from
        what it has. `run` returns when all have ended. Returns at once.
        """
        with self._wake:
            self._closing = min(self._closing, time.monotonic() + grace)
        self._notify()

    def _notify(self) -> None:
        with self._wake:
            self._news = True
            self._wake.notify_all()

    # In the scheduler's thread.

    def run(self) -> None:
        """Work until `close`, and sleep while there is nothing to do."""
        while not (self._closing < math.inf and self.idle):
            try:
                if self.step():
                    continue
            except Exception:  # our own fault: who runs now has lost, but not who comes later
                _log.exception("the scheduler failed")
                for job in list(self._live):
                    self._end(job, "failed", HogwildError("the scheduler failed; its log says why"))
            with self._wake:
                if not self._news:  # of a close, too, that the last step has heard
                    self._wake.wait(None if self.idle and self._closing == math.inf else POLL)

    @property
    def idle(self) -> bool:
        """Whether there is no team that has not ended."""
        return not (self._live or self._paused or len(self._queue))

    def step(self) -> bool:
        """Do what was asked for, admit teams, and do one pass; whether there was one."""
        self._news = False
        began, before = time.perf_counter(), self._stats.pass_seconds
        self._end_what_must()
        self._admit()
        for job in list(self._live):
            if job.waits is not None and job.waits.over:
                job.waits = None
                self._advance(job)
        parts = self._choose()
        while parts:
            try:
                logits = self._forward([row for _, rows in parts for row in rows])
            except CacheFull as error:
                parts = self._without_newest(parts, error)
            except Exception:  # whoever's fault it is, the others go on
                self._one_by_one(parts)
                break
            else:
                self._hand_out(parts, logits)
                break
        self._stats.work_seconds += time.perf_counter() - began - (self._stats.pass_seconds - before)
        return bool(parts)

    def _forward(self, rows: Sequence[Row]) -> Tensor:
        began = time.perf_counter()
        logits = on_cpu(self.engine.forward(rows))
        self._stats.count(len(rows), sum(len(row.tokens) for row in rows), time.perf_counter() - began)
        return logits

    def _choose(self) -> list[tuple[Job, list[Row]]]:
        """The next pass: all that is short, and long rows, the oldest team's first, up to the limit."""
        parts = [(job, job.pending.take(0)) for job in self._live if job.pending is not None and job.pending.short]
        used = sum(len(row.tokens) for _, rows in parts for row in rows)
        chosen = {job.number for job, _ in parts}
        room = max(self.pass_tokens - used, int(self.pass_tokens * LEAST_PROMPT), 1)
        for job in list(self._live):
            if room <= 0:
                break
            if job.play is None and (self.isolate or not any(other.reads_for(job) for other in self._live)):
                self._begin(job)
            if job.pending is not None and job.number not in chosen:
                rows = job.pending.take(room)
                parts.append((job, rows))
                room -= sum(len(row.tokens) for row in rows)
        return [(job, rows) for job, rows in parts if job.pending is not None]

    def _hand_out(self, parts: Sequence[tuple[Job, list[Row]]], logits: Tensor) -> None:
        """Give all teams what they have asked for, and let them go on to their next asks."""
        given = logits.split([sum(1 + row.drafts for row in rows) for _, rows in parts])
        asks = [job.pending for job, _ in parts]
        for pending, part in zip(asks, given, strict=True):
            assert pending is not None, "only who has asked is in a pass"
            pending.give(part)
        for (job, _), pending in zip(parts, asks, strict=True):
            if job.pending is pending and pending is not None and pending.done:  # nobody has paused it meanwhile
                self._advance(job, pending.answer)

    def _one_by_one(self, parts: Sequence[tuple[Job, list[Row]]]) -> None:
        """A pass has failed: each team's part again, alone, so that only those fail whose fault it was."""
        for job, rows in parts:
            if (pending := job.pending) is None:
                continue
            try:
                logits = self._forward(rows)
            except Exception as error:
                self._fail(job, pending, error)
            else:
                self._hand_out([(job, rows)], logits)

    def _fail(self, job: Job, pending: Pending, error: Exception) -> None:
        """A team's ask has failed; it may know what to do."""
        pending.undo()
        self._advance(job, error=error)

    def _without_newest(self, parts: list[tuple[Job, list[Row]]], error: CacheFull) -> list[tuple[Job, list[Row]]]:
        """The pool is too full for a pass: pause the newest team; who is alone must do with what there is."""
        newest = self._live[-1]
        if len(self._live) > 1:
            self._pause(newest)
        elif newest.pending is not None:
            self._fail(newest, newest.pending, error)
        return [(job, rows) for job, rows in parts if job is not newest]

    # What teams do between their passes.

    def _begin(self, job: Job) -> None:
        if self.isolate:
            job.team.setup.owner = job.key
        job.play = job.team.play()
        self._advance(job)

    def _advance(self, job: Job, answer: Tensor | None = None, error: Exception | None = None) -> None:
        """Let a team go on until it asks for the next pass, or waits, or ends. What it does wrong is its own end."""
        self._current, job.pending = job, None
        assert job.play is not None, "it has begun"
        try:
            happened = job.play.send(answer) if error is None else job.play.throw(error)
            while not isinstance(happened, (Ask, Wait)):
                self._tell(job, happened)
                happened = next(job.play)
            if isinstance(happened, Ask):
                job.pending = Pending(happened)
            else:
                job.waits = happened
        except StopIteration:
            self._end(job, "finished")
        except _Evicted:
            self._pause(job)
        except HogwildError as failed:
            self._end(job, "failed", failed)
        except Exception as bug:
            _log.exception("job %s failed", job.id)
            self._end(job, "failed", HogwildError(f"the team failed: {type(bug).__name__}: {bug}"))
        except BaseException:
            self._end(job, "failed", HogwildError("the team was interrupted"))
            raise
        finally:
            self._current = None

    def _tell(self, job: Job, event: Event) -> None:
        first = isinstance(event, Token) and not job.written
        if job.tell(event) and first:
            job.written = True
            self._stats.first_tokens += 1
            self._stats.first_token_seconds += time.monotonic() - job.submitted

    def _end(self, job: Job, state: State, error: HogwildError | None = None) -> None:
        """Nothing comes of it any more, and all its pages are free."""
        for jobs in (self._live, self._paused):
            with suppress(ValueError):
                jobs.remove(job)
        try:
            if job.play is not None:
                job.play.close()
        except Exception:  # a team's own fault, as ever
            _log.exception("job %s did not end well", job.id)
        job.team.close()
        job.play = job.pending = job.waits = None
        job.error, job.state = error, state
        setattr(self._stats, state, getattr(self._stats, state) + 1)
        try:
            job.done(job)
        except Exception:
            _log.exception("who waited for job %s failed", job.id)

    # Who may run.

    def _end_what_must(self) -> None:
        """Cancelled teams, those whose time is over, and all when the scheduler closes."""
        now = time.monotonic()
        with self._wake:
            waiting = list(self._queue)
        for job in [*waiting, *self._paused, *self._live]:
            queued = job.state == "queued"
            if job.cancelled:
                self._leave(job, "cancelled")
            elif (queued and self._closing < math.inf) or now >= self._closing + LAST_SECONDS:
                self._leave(job, "cancelled", "the scheduler is closing")
            elif job.deadline is not None and now >= job.deadline:
                self._leave(job, "expired", "the time limit of this team is over")
            elif queued and now - job.submitted >= self.queue_seconds:
                self._leave(job, "expired", f"there was no room for this team for {self.queue_seconds:g} seconds")
            elif now >= self._closing:
                job.team.stop()

    def _leave(self, job: Job, state: State, why: str = "") -> None:
        if job.state == "queued":
            with self._wake:
                self._queue.remove(job)
        self._end(job, state, HogwildError(why) if why else None)

    def _admit(self) -> None:
        """Those that were paused first, the oldest of them first; then whose turn it is."""
        while len(self._live) < self.max_teams:
            with self._wake:
                job = self._paused[0] if self._paused else self._queue.first
                if job is None or not self._fits(job):
                    return
                if job.state == "queued":
                    self._queue.remove(job)
                    self._stats.queue_seconds += time.monotonic() - job.submitted
                    job.age = self._stats.admitted = self._stats.admitted + 1
                else:
                    self._paused.remove(job)
            job.state = "running"
            self._live.append(job)
            self._live.sort(key=lambda one: one.age)

    def _fits(self, job: Job) -> bool:
        if not self._live:
            return True
        free = self.engine.pool.free_pages
        soon = sum(one.need.prompt for one in self._live if one.play is None)
        if job.state == "paused":
            return free - soon >= job.pages + max(job.pages // 4, 8)
        if self.overcommit:
            return free - soon >= job.need.prompt
        return sum(one.need.worst for one in self._live) + job.need.worst <= self.engine.pool.total_pages

    def _pause(self, job: Job) -> None:
        """Drop a team's blocks; it does everything again, from its own tokens, when there is room."""
        job.pages = max(job.held, job.pages)
        job.rewind()
        job.state = "paused"
        self._live.remove(job)
        self._paused.append(job)
        self._paused.sort(key=lambda one: one.age)
        self._stats.pauses += 1

    def _relieve(self, count: int) -> None:
        """The pool has no ``count`` free pages for what a team does between its passes: the newest ones go."""
        job = self._current
        while job is not None and self.engine.pool.free_pages < count and len(self._live) > 1:
            newest = self._live[-1]
            if newest is job:
                job.pages = job.held
                raise _Evicted
            self._pause(newest)
