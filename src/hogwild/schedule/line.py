"""The queue: one line for each key, served in turn, so that nobody's many requests hold up another's few."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hogwild.schedule.job import Job


class Lines:
    """Jobs that wait for admission. Only their number may be asked without a lock."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Job]] = {}  # whose turn is next comes first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return (job for line in list(self._lines.values()) for job in list(line))

    def add(self, job: Job) -> None:
        """To the end of its key's line."""
        self._lines.setdefault(job.key, deque()).append(job)
        self._count += 1

    @property
    def first(self) -> Job | None:
        """Who is next: nobody overtakes it, so that large teams get their turn, too."""
        return next(iter(self._lines.values()))[0] if self._lines else None

    def remove(self, job: Job) -> None:
        """It is admitted, and its key's turn is over; or it waits no more."""
        line, turn = self._lines[job.key], self.first is job
        line.remove(job)
        self._count -= 1
        if turn or not line:
            del self._lines[job.key]
        if turn and line:
            self._lines[job.key] = line  # the last in turn now
