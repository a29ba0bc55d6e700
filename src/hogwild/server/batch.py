"""The teams behind one completion, and their answers while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from fastapi import Request

from hogwild.server.logs import note
from hogwild.server.orders import Order
from hogwild.server.record import TeamRecord, news
from hogwild.server.reply import Delta, Reply
from hogwild.server.service import Service
from hogwild.server.sse import KEEP_ALIVE, unless_gone

PREPARING = ("started", "planned", "prefilled", "worker_left", "step_started")
"""Events ahead of a team's first token: its task may still turn out to be too long."""


class Batch:
    """Teams whose answers one client waits for: whatever of them still runs is cancelled when it is closed.

    Attributes: ``records`` and ``replies``, one for each choice, in order.
    """

    def __init__(self, service: Service, records: Sequence[TeamRecord], replies: Sequence[Reply]) -> None:
        self._service = service
        self.records = list(records)
        self.replies = list(replies)

    @classmethod
    async def open(cls, request: Request, service: Service, orders: Sequence[Order], key: str) -> Batch:
        """Submit all teams of a request's orders: all of them, or none. Raises `ClientGone` as well."""
        batch = await unless_gone(request, cls._submit(service, orders, key))
        note(request, teams=[record.id for record in batch.records])
        return batch

    @classmethod
    async def _submit(cls, service: Service, orders: Sequence[Order], key: str) -> Batch:
        makers = [make for order in orders for make in order.makers(service.engine)]
        model = orders[0].model
        submitting = asyncio.ensure_future(service.aside(service.submit, makers, key, model, False))
        try:
            records = await asyncio.shield(submitting)
        except asyncio.CancelledError:  # the client has gone, but the thread is at work
            submitting.add_done_callback(partial(_drop, service))
            raise
        each = [order for order in orders for _ in order.seeds]
        longest = [record.team.settings.longest_answer for record in records]
        return cls(service, records, [Reply(*one) for one in zip(each, longest, strict=True)])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nobody waits any more."""
        for record in self.records:
            self._service.cancel(record)
            self._service.forget(record)

    async def begin(self, request: Request) -> None:
        """Wait as `begun` does, for a stream: close the batch if it does not come so far, or the client goes away."""
        try:
            await unless_gone(request, self.begun())
        except BaseException:
            self.close()
            raise

    async def begun(self) -> None:
        """Wait until each team writes, so that one that never will is told by its status. Raises `ApiError`."""
        waiting = set(range(len(self.records)))
        async for one in news(self.records):
            if one is not None and one[1].kind not in PREPARING:
                waiting.discard(one[0])
            self._raise_errors()
            if not waiting:
                return
        self._raise_errors()

    async def deltas(self) -> AsyncIterator[tuple[int, Delta | None] | None]:
        """What is added to the answers, each with the index of its choice, and no delta where that answer is complete.

        None comes when nothing has for a while. A team whose answer is complete is cancelled. Raises `ApiError` where
        a team ends without an answer.
        """
        async for one in news(self.records, KEEP_ALIVE):
            if one is None:
                yield None
                continue
            index, event = one
            reply = self.replies[index]
            had_ended = reply.ended
            for delta in reply.read(event):
                if not had_ended:
                    yield index, delta
            if reply.ended and not had_ended:
                if event.kind != "finished":
                    self._service.cancel(self.records[index])
                yield index, None
        self._raise_errors()

    def _raise_errors(self) -> None:
        for record, reply in zip(self.records, self.replies, strict=True):
            if not reply.ended and (error := record.error()) is not None:
                raise error

    async def collect(self) -> None:
        """Read all answers to their ends."""
        await self.begun()
        async for _ in self.deltas():
            pass


def _drop(service: Service, submitted: asyncio.Future[list[TeamRecord]]) -> None:
    """Nobody waits for teams that were submitted just now."""
    if not submitted.cancelled() and submitted.exception() is None:
        Batch(service, submitted.result(), []).close()
