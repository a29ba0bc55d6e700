"""What the server keeps of a team: its events, in order, which any number of readers follow at their own pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hogwild.errors import HogwildError
from hogwild.schedule import Job
from hogwild.server.errors import ApiError, as_api_error
from hogwild.team.events import Event, Finished
from hogwild.team.team import Team


class Waker:
    """Wakes one reader, in its event loop, from any thread. Many calls before it looks cost as much as one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung = False

    def ring(self) -> None:
        """There is something new."""
        if not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be woken
                self._loop.call_soon_threadsafe(self._event.set)

    def clear(self) -> None:
        """The reader is about to look: what comes from now on rings again."""
        self._event.clear()
        self._rung = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for `ring`; whether it came within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):  # not wait_for: before Python 3.12 that may swallow a cancellation
                await self._event.wait()
        except TimeoutError:
            return False
        return True


@dataclass
class TeamRecord:
    """A team that was asked for.

    ``events[i]`` has the id ``i + 1`` in its event stream. A slow reader holds nobody up: what it has not read lies
    here. ``kept`` tells whether it can be asked for after its end. ``ended`` is the time of that, or None.
    """

    id: str
    key: str
    team: Team
    model: str
    kept: bool = True
    created: float = field(default_factory=time.time)
    events: list[Event] = field(default_factory=list)
    ended: float | None = None
    _job: Job | None = None
    _wakers: list[Waker] = field(default_factory=list)

    @property
    def job(self) -> Job:
        """The scheduler's side of it."""
        assert self._job is not None, "a record is shown to nobody before its team is submitted"
        return self._job

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``paused``, ``finished``, ``failed``, ``cancelled`` or ``expired``."""
        return "queued" if self._job is None else self._job.state

    @property
    def finished(self) -> Finished | None:
        """The last event of a team that came to its end."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    # In the scheduler's thread.

    def write(self, event: Event) -> None:
        """Keep an event and wake the readers."""
        self.events.append(event)
        self._ring()

    def end(self) -> None:
        """The job has ended: no event comes after this."""
        self.ended = time.monotonic()
        self._ring()

    def _ring(self) -> None:
        for waker in list(self._wakers):
            waker.ring()

    # In an event loop.

    def follow(self, waker: Waker) -> None:
        """Wake a reader from now on."""
        self._wakers.append(waker)

    def unfollow(self, waker: Waker) -> None:
        """Wake it no more."""
        self._wakers.remove(waker)

    def error(self) -> ApiError | None:
        """Why a team that has ended has no `Finished`; None for one that has, or that has not ended."""
        if self.ended is None or self.finished is not None:
            return None
        if self.state == "cancelled" and self.job.error is not None:
            return ApiError(503, str(self.job.error), code="stopping")
        if self.state == "cancelled":
            return ApiError(409, "the team was cancelled", code="cancelled")
        if self.state == "expired":
            said = str(self.job.error) if self.job.error else "the time limit of this request is over"
            return ApiError(503, said, code="expired")
        return as_api_error(self.job.error or HogwildError("the team ended without an answer"))


async def news(records: Sequence[TeamRecord], idle: float | None = None) -> AsyncIterator[tuple[int, Event] | None]:
    """The events of some teams as they come, each with its record's index, until all have ended.

    None comes whenever nothing has for ``idle`` seconds.
    """
    waker, read = Waker(), [0] * len(records)
    for record in records:
        record.follow(waker)
    try:
        while True:
            waker.clear()
            over = all(record.ended is not None for record in records)  # before looking: nothing comes after that
            for index, record in enumerate(records):
                while read[index] < len(record.events):
                    read[index] += 1
                    yield index, record.events[read[index] - 1]
            if over:
                return
            if not await waker.wait(idle):
                yield None
    finally:
        for record in records:
            record.unfollow(waker)


def as_line(event: Event) -> dict[str, Any]:
    """An event as in a line of a trace."""
    return event.model_dump(mode="json", by_alias=True)
