"""A team in the hands of a scheduler, and what others may ask of it from their threads."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from threading import RLock
from typing import Literal

from hogwild.engine.prefixes import common
from hogwild.errors import HogwildError
from hogwild.schedule.demand import Demand
from hogwild.schedule.pending import Pending
from hogwild.team.ask import Play, Wait
from hogwild.team.events import Event, Prefilled
from hogwild.team.team import Team
from hogwild.team.worker import Worker

State = Literal["queued", "running", "paused", "finished", "failed", "cancelled", "expired"]
Sink = Callable[[Event], None]

_numbers = itertools.count(1)


class Job:
    """One team that was submitted. Its methods may be called from any thread, at any time.

    Attributes: ``id``; ``key`` of who asks; ``team``; ``state``; ``error``, why it has no `Finished`, or None.
    """

    def __init__(
        self,
        team: Team,
        key: str,
        need: Demand,
        sink: Sink,
        done: Callable[[Job], None],
        wake: Callable[[], None],
        deadline: float | None,
    ) -> None:
        self.number = next(_numbers)
        self.id = f"job-{self.number}"
        self.key = key
        self.team = team
        self.state: State = "queued"
        self.error: HogwildError | None = None
        self.submitted = time.monotonic()
        self.deadline = deadline
        # The scheduler's side.
        self.need = need
        self.sink = sink
        self.done = done
        self.play: Play[None] | None = None
        self.pending: Pending | None = None
        self.waits: Wait | None = None
        self.pages = 0  # that it had when it was paused
        self.age = 0  # its number among those that were admitted: the newest is paused first
        self.written = False  # whether its first token is out
        self.sent = self.seen = 0  # events that went out, and that came in this run, but for those of reading
        self.read = 0  # tokens of its prompt that were told to be read
        self.cancelled = False
        self._wake = wake
        self.lock = RLock()  # a team that is being rewound takes no requests

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self.state in ("finished", "failed", "cancelled", "expired")

    @property
    def held(self) -> int:
        """Pages that its blocks have now."""
        space = self.team.space
        return 0 if space is None else space.pages

    def reads_for(self, other: Job) -> bool:
        """Whether it is reading a beginning of its prompt that the other one, which has not begun, can share."""
        space, pending = self.team.space, self.pending
        if space is None or pending is None or pending.asked.rows[0].own is not space.prompt:
            return False
        if not (self.team.settings.share_prompts and other.team.settings.share_prompts):
            return False
        page = space.engine.pool.page_size
        return len(space.prompt) < common(self.need.tokens, other.need.tokens) // page * page

    def tell(self, event: Event) -> bool:
        """Send an event out, unless it was sent before the team was paused; whether it went."""
        if isinstance(event, Prefilled):  # how many of these come depends on what others have read by then
            if event.done <= self.read:
                return False
            self.read = event.done
        else:
            self.seen += 1
            if self.seen <= self.sent:
                return False
            self.sent = self.seen
        self.sink(event)
        return True

    def rewind(self) -> None:
        """Drop all blocks; the next play does everything once more."""
        with self.lock:
            if self.play is not None:
                self.play.close()
            self.play = self.pending = self.waits = None
            self.seen = 0
            self.team.rewind()

    # What may be asked for.

    def cancel(self) -> None:
        """End it before the next pass; all its pages come back. Does nothing for one that has ended."""
        self.cancelled = True
        self._wake()

    def stop(self) -> None:
        """Let it stop after the current pass and answer from what there is."""
        with self.lock:
            self.team.stop()
        self._wake()

    def say(self, text: str, name: str = "You") -> None:
        """See `Team.say`."""
        with self.lock:
            self.team.say(text, name)
        self._wake()

    def join(self, worker: Worker) -> None:
        """See `Team.join`."""
        with self.lock:
            self.team.join(worker)
        self._wake()

    def leave(self, name: str) -> None:
        """See `Team.leave`."""
        with self.lock:
            self.team.leave(name)
        self._wake()

    def answer_tool(self, call_id: str, result: str) -> None:
        """See `Team.answer_tool`."""
        with self.lock:
            self.team.answer_tool(call_id, result)
        self._wake()
