"""``GET /v1/teams/{id}/events``: what happens in a team, as server-sent events that can be resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from hogwild.server.deps import KeyOf, ServiceOf
from hogwild.server.errors import ApiError
from hogwild.server.record import TeamRecord, as_line, news
from hogwild.server.routes.teams import RecordOf
from hogwild.server.schemas.base import REFUSALS, STREAM
from hogwild.server.service import Service
from hogwild.server.sse import COMMENT, KEEP_ALIVE, EventStream, data

router = APIRouter(prefix="/v1/teams", tags=["teams"], responses=REFUSALS)

After = Annotated[int | None, Query(ge=0, description="begin after the event of this id")]
LastEventId = Annotated[str | None, Header(description="the same, as a browser says it when it comes back")]


@router.get(
    "/{team}/events",
    response_class=Response,
    responses=STREAM,
)
async def events(
    record: RecordOf,
    service: ServiceOf,
    key: KeyOf,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Any:
    """The events of a team from its first on, or after one, until its end.

    ``id`` counts from 1. The last event is ``finished``, ``failed`` (with the error) or ``cancelled``.
    """
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise ApiError(400, f"Last-Event-ID is {last_event_id[:50]!r}: give a whole number", param="Last-Event-ID")
    begin = int(last_event_id or 0) if after is None else after
    service.acquire("stream", key)
    return EventStream(_stream(record, service, key, begin))


async def _stream(record: TeamRecord, service: Service, key: str, begin: int) -> AsyncIterator[str]:
    try:
        yield ": events\n\n"
        number = 0
        async for one in news([record], KEEP_ALIVE):
            if one is None:
                yield COMMENT
                continue
            number += 1
            if number > begin:
                line = as_line(one[1])
                yield data(line, kind=line["kind"], number=number)
        if (error := record.error()) is not None and number >= begin:
            kind = "cancelled" if record.state == "cancelled" else "failed"
            yield data({"kind": kind, **error.body()}, kind=kind, number=number + 1)
    finally:
        service.release("stream", key)
