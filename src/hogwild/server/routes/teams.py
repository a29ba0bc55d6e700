"""``/v1/teams``: teams as what they are: asked for, looked at, talked to, stopped."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from hogwild.errors import BlockError
from hogwild.server.deps import KeyOf, ServiceOf
from hogwild.server.errors import ApiError
from hogwild.server.logs import note
from hogwild.server.orders import of_team
from hogwild.server.record import TeamRecord, as_line
from hogwild.server.schemas.base import REFUSALS
from hogwild.server.schemas.teams import (
    Deleted,
    Done,
    Join,
    Say,
    Step,
    TeamDetails,
    TeamRequest,
    Teams,
    TeamState,
    ToolResult,
)  # fmt: skip
from hogwild.team.events import StepFinished
from hogwild.team.worker import Worker

router = APIRouter(prefix="/v1/teams", tags=["teams"], responses=REFUSALS)


def _record(team: Annotated[str, Path(max_length=100)], service: ServiceOf, key: KeyOf) -> TeamRecord:
    return service.record(team, key)


RecordOf = Annotated[TeamRecord, Depends(_record)]
"""The team that the path names; 404 where this key has no such team."""


def _live(record: RecordOf) -> TeamRecord:
    if record.ended is not None:
        raise ApiError(409, f"this team has ended ({record.state})", param="team", code="ended")
    return record


LiveOf = Annotated[TeamRecord, Depends(_live)]
"""The same, 409 where it has ended."""


@router.post("", status_code=201)
async def start(request: Request, body: TeamRequest, service: ServiceOf, key: KeyOf, response: Response) -> TeamState:
    """Start a team. It runs whether anybody listens or not."""
    order = of_team(body, service.name, service.settings)
    note(request, text=body.task or [message.content for message in body.messages or []])
    (record,) = await service.aside(service.submit, order.makers(service.engine), key, order.model, True)
    note(request, teams=[record.id])
    response.headers["Location"] = f"/v1/teams/{record.id}"
    return TeamState(**_state(record))


@router.get("")
async def teams(service: ServiceOf, key: KeyOf) -> Teams:
    """The teams of this key: those that wait or run, and those that have ended a short while ago."""
    return Teams(data=[TeamState(**_state(record)) for record in service.records(key)])


@router.get("/{team}", response_model_exclude_none=False)
async def team(record: RecordOf) -> TeamDetails:
    """Everything about one team."""
    steps = [
        Step(worker=event.worker, step=event.step, text=event.text)
        for event in record.events
        if isinstance(event, StepFinished)
    ]
    error, finished = record.error(), record.finished
    return TeamDetails(
        **_state(record),
        views=_views(record),
        steps=steps,
        tokens=dict(record.team.progress.written),
        reason=record.team.reason,
        text=finished.text if finished else None,
        error=error.body()["error"] if error else None,
    )


@router.delete("/{team}")
async def delete(record: RecordOf, service: ServiceOf) -> Deleted:
    """Stop a team at once, without an answer; or forget one that has ended."""
    if record.ended is None:
        service.cancel(record)
        return Deleted(id=record.id, deleted=False, state="cancelled")
    service.forget(record)
    return Deleted(id=record.id, deleted=True, state=record.state)


@router.post("/{team}/say", status_code=202)
async def say(record: LiveOf, body: Say, request: Request, service: ServiceOf) -> Done:
    """Put a message into the team's history; every worker sees it in its next pass."""
    note(request, text=body.text)
    await service.aside(record.job.say, body.text, body.name or "You")
    return Done(id=record.id)


@router.post("/{team}/stop", status_code=202)
async def stop(record: LiveOf) -> Done:
    """Ask for the answer now, from what there is."""
    record.job.stop()
    return Done(id=record.id)


@router.post("/{team}/workers", status_code=202)
async def join(record: LiveOf, body: Join, service: ServiceOf) -> Done:
    """Let one more worker join."""
    if not record.kept:
        raise ApiError(409, "a completion keeps its workers; start the team by POST /v1/teams", code="not_a_team")
    if len(record.team.progress.written) >= service.settings.max_workers:
        most = service.settings.max_workers
        raise ApiError(400, f"a team has up to {most} workers here over its life, and this one had them", param="name")
    await service.aside(record.job.join, Worker(body.name, body.prompt, body.opening))
    return Done(id=record.id)


@router.delete("/{team}/workers/{name}", status_code=202)
async def leave(record: LiveOf, name: str, service: ServiceOf) -> Done:
    """Let a worker leave; what it has finished stays."""
    if name not in record.team.progress.written:
        raise ApiError(404, f"this team has no worker {name[:80]!r}", param="name")
    await service.aside(record.job.leave, name)
    return Done(id=record.id)


@router.post("/{team}/tools/{call}", status_code=202)
async def answer_tool(record: LiveOf, call: str, body: ToolResult, service: ServiceOf) -> Done:
    """Give a waiting worker what its tool gave; it goes on from there."""
    await service.aside(record.job.answer_tool, call, body.result)
    return Done(id=record.id)


@router.get("/{team}/trace", response_class=Response, responses={200: {"content": {"application/jsonl": {}}}})
async def trace(record: RecordOf) -> Response:
    """The events so far as a trace, for ``hogwild replay``."""
    text = "".join(json.dumps(as_line(event), ensure_ascii=False) + "\n" for event in list(record.events))
    name = f'attachment; filename="{record.id}.jsonl"'
    headers = {"Content-Disposition": name}
    return Response(text.encode("utf-8", "replace"), media_type="application/jsonl", headers=headers)


def _state(record: TeamRecord) -> dict[str, Any]:
    team = record.team
    return {
        "id": record.id,
        "state": record.state,
        "task": team.task,
        "model": record.model,
        "workers": list(team.progress.written),
        "layout": team.layout.name,
        "budget": team.settings.budget,
        "passes": team.passes,
        "created": record.created,
        "answer": team.answer,
    }


def _views(record: TeamRecord) -> dict[str, Any]:
    """What each worker sees now. The scheduler may be changing it in this very moment: then none are told."""
    try:
        views = {} if record.ended is not None else record.team.views()
    except (AttributeError, BlockError, LookupError, RuntimeError, ValueError):
        return {}
    return {
        name: [{"kind": piece.kind, "worker": piece.worker, "tokens": piece.tokens} for piece in pieces]
        for name, pieces in views.items()
    }
