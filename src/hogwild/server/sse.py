"""Server-sent events, and clients that go away: whoever does not listen any more costs nothing from then on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hogwild.server.errors import as_api_error

KEEP_ALIVE = 15.0
"""Seconds without an event, after which a comment shows both sides that the connection lives."""

COMMENT = ": still here\n\n"
DONE = "data: [DONE]\n\n"

Result = TypeVar("Result")


class ClientGone(Exception):
    """The client has closed the connection. No error of the tree: nobody is there to be told."""


def data(content: dict[str, Any], *, kind: str = "", number: int | None = None) -> str:
    """One event. ``kind`` and ``number`` are its name and id, if it has them."""
    head = ("" if number is None else f"id: {number}\n") + (f"event: {kind}\n" if kind else "")
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {text}\n\n".encode("utf-8", "replace").decode()


class EventStream(Response):
    """An answer that comes in pieces. The generator is closed, wherever it is, once the client has gone."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[str]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces; see `Response`."""
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _end(sending)
            await _end(gone)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        except Exception as error:  # the status is sent: what is left is to say it in the stream
            body = data(as_api_error(error).body()).encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            await self._pieces.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``, which is cancelled when the client goes away. Raises `ClientGone` then."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client has gone")
        return working.result()
    finally:
        await _end(working)
        await _end(gone)


async def _gone(receive: Receive) -> None:
    """Come back when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel a task that still runs, and wait until it has cleaned up."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
