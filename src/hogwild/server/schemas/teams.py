"""Teams: asked for, looked at, talked to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hogwild.server.schemas.base import (
    Answer,
    Asked,
    ChatMessage,
    Count,
    FunctionTool,
    Given,
    Layout,
    SamplingFields,
    Seed,
)  # fmt: skip


class TeamRequest(SamplingFields):
    """``POST /v1/teams``. A ``task`` in words, or a conversation whose last message is the task."""

    task: str | None = None
    messages: list[ChatMessage] | None = None
    model: str | None = Field(None, description="a name of GET /v1/models, which may say how many workers")
    workers: Count | None = None
    names: list[str] | None = None
    prompts: list[str] | None = Field(None, description="a role for each worker, empty for none")
    openings: list[str] | None = Field(None, description="the first words of each worker, empty for the usual ones")
    layout: Layout | None = None
    budget: Count | None = Field(None, description="passes")
    seed: Seed = 0
    assign: Literal["none", "plan"] | None = None
    parts: list[str | list[str]] | None = Field(None, description="of the task, shared out to the workers")
    one_by_one: bool = Field(False, description="hand parts out one by one, to whoever is free, instead of in runs")
    answer: Answer = "text"
    answer_tokens: Count | None = None
    on_full: Literal["stop", "drop"] | None = None
    snapshots: list[Count] | None = None
    check_every: int | None = Field(None, ge=0, lt=2**31)
    prompt: Literal["default", "examples", "code", "short", "steps"] | None = Field(
        None, description="a packaged set of prompts"
    )
    stop: list[str] | None = Field(None, description="texts at which a worker is done")
    logprobs: int | None = Field(None, ge=0, le=20)
    json_schema: dict[str, Any] | None = Field(None, alias="schema", description="that the answer follows")
    tools: list[FunctionTool] | None = None
    tool_seconds: float | None = Field(None, gt=0, le=86400, description="how long a worker waits for a result")


class Say(Asked):
    """A person's message into a running team."""

    text: str
    name: str | None = None


class Join(Asked):
    """A worker that joins."""

    name: str
    prompt: str | None = None
    opening: str | None = None


class ToolResult(Asked):
    """What a tool gave, for the worker that waits for it."""

    result: str


class TeamState(Given):
    """A team, as the list shows it. ``created`` is in seconds since 1970."""

    id: str
    object: Literal["team"] = "team"
    state: str
    task: str
    model: str
    workers: list[str]
    layout: str
    budget: int
    passes: int
    created: float
    answer: str | None


class Teams(Given):
    """The teams of a key, the newest first."""

    object: Literal["list"] = "list"
    data: list[TeamState]


class PieceOfView(Given):
    """A run of tokens in a worker's view."""

    kind: str
    worker: str | None
    tokens: int


class Step(Given):
    """A finished step."""

    worker: str
    step: int
    text: str


class TeamDetails(TeamState):
    """Everything about a team. ``views`` are those of this moment, and empty before it runs and after its end."""

    views: dict[str, list[PieceOfView]]
    steps: list[Step]
    tokens: dict[str, int]
    reason: str | None
    text: str | None
    error: dict[str, Any] | None = None


class Done(Given):
    """It will happen between two passes."""

    id: str
    ok: Literal[True] = True


class Deleted(Given):
    """A running team is stopped and can still be looked at for a while; one that has ended is forgotten."""

    id: str
    object: Literal["team.deleted"] = "team.deleted"
    deleted: bool
    state: str
