"""From a request to teams: which model name means how many workers, what is within the limits, what a team is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hogwild.engine import Engine
from hogwild.sampling import Sampling
from hogwild.server.errors import ApiError, unsupported
from hogwild.server.schemas.base import ChatMessage, FunctionTool, HogwildOptions
from hogwild.server.schemas.chat import ChatRequest, CompletionFields, CompletionRequest
from hogwild.server.schemas.teams import TeamRequest
from hogwild.server.settings import ServerSettings
from hogwild.team.team import Team
from hogwild.team.tools import Tool
from hogwild.team.worker import NAMES, Worker

_ALIAS = re.compile(r"hogwild-(?P<workers>[1-9][0-9]?)/(?P<name>.+)")
LISTED = (2, 4)
"""Teams of so many workers have an alias in ``GET /v1/models``; others work as well."""


@dataclass(frozen=True)
class Order:
    """What a request asks of a team; several teams of one order differ in their seeds.

    ``model`` is the name that the client used, ``stop`` the texts at which the answer ends, ``form`` that of the
    answer, ``logprobs`` how many other tokens are shown with each of the answer's (None for no log probabilities).
    """

    model: str
    task: Any
    workers: Sequence[Worker]
    options: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    seeds: Sequence[int] = (0,)

    @property
    def solo(self) -> bool:
        """One worker: an ordinary request."""
        return len(self.workers) == 1

    @property
    def logprobs(self) -> int | None:
        """How many likely tokens are told with each one, or None for no log probabilities."""
        found: int | None = self.options.get("logprobs")
        return found

    def makers(self, engine: Engine) -> list[Callable[[], Team]]:
        """What makes each of its teams."""
        return [partial(self._make, engine, seed) for seed in self.seeds]

    def _make(self, engine: Engine, seed: int) -> Team:
        sampling = Sampling.from_generation_config(engine.generation_config)
        # Several workers do not stop at a text of the answer: only the answer does.
        sampling = replace(sampling, **self.sampling, stop=self.stop if self.solo else ())
        options = {name: value for name, value in self.options.items() if value is not None}
        return Team(engine, self.task, list(self.workers), sampling=sampling, seed=seed, **options)


def resolve(name: str, served: str) -> int | None:
    """How many workers a model's name asks for, None where it does not say. Raises `ApiError` (404)."""
    if name == served:
        return None
    alias = _ALIAS.fullmatch(name)
    if alias is None or alias["name"] != served:
        raise ApiError(
            404,
            f"there is no model {name[:200]!r} here: GET /v1/models lists them",
            param="model",
            code="model_not_found",
        )
    return int(alias["workers"])


def aliases(served: str, most: int) -> list[str]:
    """The names of `GET /v1/models`."""
    return [served, *(f"hogwild-{count}/{served}" for count in LISTED if count <= most)]


def of_chat(body: ChatRequest, served: str, limits: ServerSettings) -> Order:
    """What a chat completion asks for."""
    count = _workers(body, served, limits)
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise unsupported("max_tokens", "it differs from max_completion_tokens, which means the same; give one")
    if body.top_logprobs is not None and not body.logprobs:
        raise unsupported("top_logprobs", "it needs logprobs=true")
    options = {
        "budget": _budget(body.hogwild.budget or body.max_completion_tokens or body.max_tokens, limits),
        "logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        "schema": body.response_format.schema_of_answer() if body.response_format else None,
        **_tools(body, count),
        **_hogwild(body.hogwild, count),
    }
    return replace(_completion(body, count, limits), task=_task(body.messages, limits), options=options)


def of_completion(body: CompletionRequest, served: str, limits: ServerSettings) -> list[Order]:
    """What a completion asks for: an order for each prompt."""
    if _workers(body, served, limits) > 1:
        raise unsupported("model", "a raw text has one worker; several answer /v1/chat/completions and /v1/teams")
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if not 1 <= len(prompts) * body.n <= limits.max_choices:
        raise unsupported("prompt", f"give 1 to {limits.max_choices} prompts, n of each counted")
    options = {
        "budget": _budget(body.hogwild.budget or body.max_tokens, limits),
        "logprobs": body.logprobs,
        "raw": True,
        **_hogwild(body.hogwild, 1),
    }
    return [replace(_completion(body, 1, limits), task=prompt, options=options) for prompt in prompts]


def of_team(body: TeamRequest, served: str, limits: ServerSettings) -> Order:
    """What ``POST /v1/teams`` asks for."""
    if (body.task is None) == (body.messages is None):
        raise unsupported("task", "give either a task or messages")
    model = body.model or served
    by_name = resolve(model, served)
    count = _within("workers", body.workers or by_name or _count(body, limits), limits.max_workers)
    options = body.model_dump(include={
        "layout", "answer", "answer_tokens", "on_full", "snapshots", "check_every", "prompt", "logprobs", "assign",
        "tool_seconds", "one_by_one",
    })  # fmt: skip
    options |= {"budget": _budget(body.budget, limits), "schema": body.json_schema}
    if body.parts is not None:
        options["assign"] = body.parts
    if body.tools:
        options["tools"] = _as_tools(body.tools)
    workers = make_workers(count, body.names, body.prompts, body.openings)
    task = body.task if body.messages is None else _task(body.messages, limits)
    stop = tuple(body.stop or ())
    sampling = body.sampling() | ({"stop": stop} if stop and count > 1 else {})
    return Order(model, task, workers, options, sampling, stop if count == 1 else (), [body.seed])


def make_workers(
    count: int, names: Sequence[str] | None, prompts: Sequence[str] | None, openings: Sequence[str] | None = None
) -> list[Worker]:
    """So many workers; each list has an entry for each of them, or is None."""
    for param, given in (("names", names), ("prompts", prompts), ("openings", openings)):
        if given is not None and len(given) != count:
            raise ApiError(400, f"{param} has {len(given)} entries for {count} workers: give one for each", param=param)
    nothing = [""] * count
    rows = zip(names or NAMES[:count], prompts or nothing, openings or nothing, strict=True)
    return [Worker(name, prompt or None, opening or None) for name, prompt, opening in rows]


def _completion(body: CompletionFields, count: int, limits: ServerSettings) -> Order:
    """What both kinds of completion say in the same way."""
    if body.stream_options is not None and not body.stream:
        raise unsupported("stream_options", "it needs stream=true")
    _within("n", body.n, limits.max_choices)
    seeds = body.hogwild.seeds or [(body.seed or 0) + choice for choice in range(body.n)]
    if len(seeds) != body.n:
        raise unsupported("hogwild.seeds", f"it has {len(seeds)} seeds for n={body.n}; give one for each")
    stop = body.stops()
    if len(stop) > 16 or not all(0 < len(text) <= 200 for text in stop):
        raise unsupported("stop", "give 1 to 16 texts of 1 to 200 characters")
    workers = make_workers(count, body.hogwild.names, body.hogwild.prompts)
    return Order(body.model, None, workers, {}, body.sampling(), stop, seeds)


def _workers(body: CompletionFields, served: str, limits: ServerSettings) -> int:
    by_name = resolve(body.model, served)
    return _within("hogwild.workers", body.hogwild.workers or by_name or 1, limits.max_workers)


def _count(body: TeamRequest, limits: ServerSettings) -> int:
    return len(body.names) if body.names else limits.workers_default


def _budget(asked: int | None, limits: ServerSettings) -> int:
    return _within("budget", asked or limits.budget_default, limits.max_budget)


def _within(param: str, value: int, most: int) -> int:
    if value > most:
        raise ApiError(400, f"{param} is {value}: this server allows up to {most}", param=param)
    return value


def _hogwild(asked: HogwildOptions, count: int) -> dict[str, Any]:
    options = asked.model_dump(
        include={"layout", "answer", "answer_tokens", "check_every", "one_by_one"}, exclude_none=True
    )
    if count == 1 and "answer" in options:
        raise unsupported("hogwild.answer", "one worker's answer is what it writes; take several workers")
    if asked.parts is not None:
        options["assign"] = asked.parts
    return options


def _task(messages: Sequence[ChatMessage], limits: ServerSettings) -> Any:
    """A conversation as a team takes it; a lone question is just its text."""
    _within("messages", len(messages), limits.max_messages)
    turns = [message.as_message() for message in messages]
    return turns[0]["content"] if len(turns) == 1 and turns[0]["role"] == "user" else turns


def _tools(body: ChatRequest, count: int) -> dict[str, Any]:
    if not body.tools or body.tool_choice == "none":
        return {}
    if count > 1:
        raise unsupported("tools", "several workers call tools while the others go on: use POST /v1/teams for that")
    return {"tools": _as_tools(body.tools)}


def _as_tools(tools: Sequence[FunctionTool]) -> list[Tool]:
    return [Tool(one.function.name, one.function.description, one.function.parameters) for one in tools]
