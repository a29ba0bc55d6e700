"""What happens in a team, as typed values. A trace is these events, one JSON object a line.

Every event carries ``pass_`` (forward passes done so far; JSON key ``pass``) and ``time`` (seconds since the
run began). Events about one worker carry its name and the number of its current step (from 1).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer


class BaseEvent(BaseModel):
    """What all events share."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    pass_: int = Field(alias="pass", ge=0)
    time: float = Field(ge=0)


class Started(BaseEvent):
    """The first event: the task and everything that is needed to run it again."""

    kind: Literal["started"] = "started"
    format: int = 1
    task: str
    model: str
    workers: list[str]
    layout: str
    budget: int
    seeds: list[int]
    settings: dict[str, Any] = {}
    versions: dict[str, str] = {}


class Prefilled(BaseEvent):
    """Progress of reading the prompt: ``done`` of ``total`` tokens are in the cache."""

    kind: Literal["prefilled"] = "prefilled"
    done: int
    total: int


class Planned(BaseEvent):
    """Who does what: the parts of each worker, by name (``assign`` is a list or ``plan``)."""

    kind: Literal["planned"] = "planned"
    parts: dict[str, list[str]]


class TopToken(BaseModel):
    """One of the likeliest tokens at a place, its text alone, and the natural logarithm of its probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: int
    text: str
    logprob: float


class WrittenToken(BaseEvent):
    """What the events of written tokens share.

    With the option ``logprobs``: ``logprob`` of the token and the ``top`` likeliest ones, of the model's distribution
    before temperature, penalties and masks, as OpenAI-compatible servers report it. Without, a trace has neither.
    """

    logprob: float | None = None
    top: list[TopToken] | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        return {key: value for key, value in written.items() if value is not None or key not in ("logprob", "top")}


class Token(WrittenToken):
    """A worker wrote a token. ``text`` is what became readable by it, and may be empty."""

    kind: Literal["token"] = "token"
    worker: str
    step: int
    token: int
    text: str


class StepStarted(BaseEvent):
    """A worker begins a step. ``text`` is the prefix that was put in its mouth."""

    kind: Literal["step_started"] = "step_started"
    worker: str
    step: int
    text: str


class StepFinished(BaseEvent):
    """A worker finished a step, which now stands in the history. ``text`` is the whole step with its prefix."""

    kind: Literal["step_finished"] = "step_finished"
    worker: str
    step: int
    text: str


class StepsDropped(BaseEvent):
    """The window was full: the oldest ``count`` steps left the view."""

    kind: Literal["steps_dropped"] = "steps_dropped"
    count: int


class CheckAsked(BaseEvent):
    """A worker's new step began with the question whether it does redundant work."""

    kind: Literal["check_asked"] = "check_asked"
    worker: str
    step: int


class Said(BaseEvent):
    """A person put a message into the shared history."""

    kind: Literal["said"] = "said"
    name: str
    text: str


class ToolCalled(BaseEvent):
    """A worker called a tool, and writes no more until the result is there. ``arguments`` is JSON as it wrote it."""

    kind: Literal["tool_called"] = "tool_called"
    worker: str
    step: int
    call: str
    name: str
    arguments: str


class ToolReturned(BaseEvent):
    """The result of the call has been put behind it, and the worker goes on."""

    kind: Literal["tool_returned"] = "tool_returned"
    worker: str
    step: int
    call: str
    result: str


class WorkerJoined(BaseEvent):
    """A worker joined the running team."""

    kind: Literal["worker_joined"] = "worker_joined"
    worker: str


class WorkerLeft(BaseEvent):
    """A worker left; its finished steps stay. ``reason`` is ``asked``, ``done`` or ``window``."""

    kind: Literal["worker_left"] = "worker_left"
    worker: str
    reason: str


class AnswerFound(BaseEvent):
    """A finished step holds a final answer that can be parsed."""

    kind: Literal["answer_found"] = "answer_found"
    worker: str
    step: int
    answer: str


class Snapshot(BaseEvent):
    """What the finisher answers at an intermediate budget, in passes."""

    kind: Literal["snapshot"] = "snapshot"
    budget: int
    answer: str | None
    text: str


class BudgetReached(BaseEvent):
    """The team stops: ``reason`` is ``budget``, ``window``, ``cache`` (pool full) or ``stopped`` (by the caller)."""

    kind: Literal["budget_reached"] = "budget_reached"
    reason: str


class AnswerToken(WrittenToken):
    """The finisher wrote a token of the final answer (-1 in traces of old). ``text`` is as in `Token`."""

    kind: Literal["answer_token"] = "answer_token"
    token: int = -1
    text: str


class Finished(BaseEvent):
    """The last event. ``text`` is the answer as shown to a person, ``answer`` the parsed form or None."""

    kind: Literal["finished"] = "finished"
    answer: str | None
    text: str
    reason: str
    passes: int
    tokens: dict[str, int]
    prompt_tokens: int
    prefill_seconds: float
    decode_seconds: float


Event = Annotated[
    Started
    | Prefilled
    | Planned
    | Token
    | StepStarted
    | StepFinished
    | StepsDropped
    | CheckAsked
    | Said
    | ToolCalled
    | ToolReturned
    | WorkerJoined
    | WorkerLeft
    | AnswerFound
    | Snapshot
    | BudgetReached
    | AnswerToken
    | Finished,
    Field(discriminator="kind"),
]
"""Any event, told apart by its ``kind``."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads one event: ``EVENT.validate_json(line)``."""
