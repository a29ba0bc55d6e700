"""Load on a server from outside: requests arrive by chance and do not wait for each other's answers (an open loop)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np

from hogwild.errors import OptionError

WORDS = (
    "river", "stone", "paper", "music", "window", "garden", "winter", "number", "letter", "engine", "market", "island",
)  # fmt: skip
"""What prompts are made of. Each prompt is another one, so that no server can have read it before."""

PLAIN, TEAM = "plain", "team"


@dataclass(frozen=True)
class Load:
    """What arrives.

    Attributes:
        rate: requests a second, on average; the times between them are exponential.
        seconds: for how long requests arrive.
        teams: the share of requests that ask for a team; the others are plain ones.
        workers: of a team.
        tokens: passes of a request.
        words: of a prompt.
        seed: of the arrivals and prompts.

    Raises:
        OptionError: a value is out of range.
    """

    rate: float = 1.0
    seconds: float = 30.0
    teams: float = 0.5
    workers: int = 2
    tokens: int = 32
    words: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "seconds", "workers", "tokens", "words"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is {getattr(self, name)}: give a number above 0")
        if not 0 <= self.teams <= 1:
            raise OptionError(f"teams is {self.teams}: give a share from 0 to 1")


@dataclass(frozen=True)
class Arrival:
    """A request: ``at`` seconds after the begin, of kind `PLAIN` or `TEAM`."""

    at: float
    kind: str
    prompt: str
    seed: int


@dataclass
class Outcome:
    """What became of a request. Times are seconds from when it was due, not from when it could be sent.

    ``gaps`` are those between two tokens of the same writer. ``error`` is empty for one that was answered.
    """

    kind: str
    first: float | None = None
    end: float = 0.0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    status: int = 0
    error: str = ""


def arrivals(load: Load) -> list[Arrival]:
    """All requests of a load, by time. The same seed gives the same ones."""
    chance, at, found = np.random.default_rng(load.seed), 0.0, list[Arrival]()
    while (at := at + float(chance.exponential(1 / load.rate))) < load.seconds:
        kind = TEAM if chance.random() < load.teams else PLAIN
        words = " ".join(str(chance.choice(WORDS)) for _ in range(load.words))
        found.append(Arrival(at, kind, f"Write a story with these words: {words}.", int(chance.integers(2**31))))
    return found


def body(arrival: Arrival, load: Load, model: str) -> dict[str, Any]:
    """The chat completion that a request asks for."""
    return {
        "model": model if arrival.kind == PLAIN else f"hogwild-{load.workers}/{model}",
        "messages": [{"role": "user", "content": arrival.prompt}],
        "max_tokens": load.tokens,
        "seed": arrival.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        "hogwild": {"answer_tokens": load.tokens},
    }


async def offer(
    client: httpx2.AsyncClient, load: Load, model: str, report: Callable[[str], None] = lambda line: None
) -> list[Outcome]:
    """Send all requests of a load when they are due, and wait for all that comes of them."""
    began, tasks = time.perf_counter(), list[asyncio.Task[Outcome]]()
    every = max(1, int(load.rate * 10))
    for number, arrival in enumerate(arrivals(load), 1):
        await asyncio.sleep(max(0.0, began + arrival.at - time.perf_counter()))
        tasks.append(asyncio.create_task(_ask(client, body(arrival, load, model), arrival.kind, began + arrival.at)))
        if number % every == 0:
            report(f"{number} sent, {sum(not task.done() for task in tasks)} of them open")
    return list(await asyncio.gather(*tasks))


async def _ask(client: httpx2.AsyncClient, asked: dict[str, Any], kind: str, due: float) -> Outcome:
    outcome = Outcome(kind)
    last = dict[str, float]()
    try:
        async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
            outcome.status = response.status_code
            if response.status_code != 200:
                outcome.error = error_code(json.loads(await response.aread()), response.status_code)
                return outcome
            async for chunk in chunks(response):
                if "error" in chunk:
                    outcome.error = error_code(chunk, "stream")
                    return outcome
                _note(outcome, chunk, last, due)
    except (httpx2.HTTPError, OSError) as error:
        outcome.error = type(error).__name__
    finally:
        outcome.end = time.perf_counter() - due
    return outcome


def _note(outcome: Outcome, chunk: dict[str, Any], last: dict[str, float], due: float) -> None:
    """What a chunk of the stream tells of the times."""
    if chunk.get("usage"):
        outcome.tokens = chunk["usage"]["completion_tokens"]
    for choice in chunk["choices"]:
        delta = choice["delta"]
        thought = delta.get("hogwild") or {}
        if not delta.get("content") and thought.get("pass", 0) == 0:
            continue  # the first words of a worker are no token of its
        now, writer = time.perf_counter(), thought.get("worker", "")
        if outcome.first is None:
            outcome.first = now - due
        if writer in last:
            outcome.gaps.append(now - last[writer])
        last[writer] = now


async def chunks(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The chunks of a streamed answer."""
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def error_code(answer: dict[str, Any], status: int | str) -> str:
    """A short name for an error in OpenAI's shape."""
    error = answer.get("error") or {}
    return f"{status} {error.get('code') or error.get('type') or 'unknown'}"


@dataclass(frozen=True)
class Limits:
    """When an answer counts as good: seconds to its first token, and seconds a token after that, on average."""

    first: float = 2.0
    token: float = 0.25

    def met(self, outcome: Outcome) -> bool:
        """Whether an answer was good."""
        if outcome.error or outcome.first is None or outcome.first > self.first:
            return False
        return not outcome.gaps or sum(outcome.gaps) / len(outcome.gaps) <= self.token


def summary(outcomes: Sequence[Outcome], limits: Limits, seconds: float) -> dict[str, Any]:
    """Figures of some requests that took ``seconds`` from the first arrival to the last answer."""
    good = [one for one in outcomes if not one.error]
    failures = sorted({one.error for one in outcomes if one.error})
    return {
        "requests": len(outcomes),
        "answered": len(good),
        "failures": {name: sum(one.error == name for one in outcomes) for name in failures},
        "first_token_seconds": percentiles([one.first for one in good if one.first is not None]),
        "inter_token_seconds": percentiles([gap for one in good for gap in one.gaps]),
        "end_to_end_seconds": percentiles([one.end for one in good]),
        "requests_per_second": len(good) / seconds,
        "goodput_per_second": sum(map(limits.met, outcomes)) / seconds,
        "tokens_per_second": sum(one.tokens for one in good) / seconds,
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 90th and 99th percentile and the largest of some values; nothing of none."""
    if not values:
        return {}
    p50, p90, p99 = np.percentile(np.asarray(values, dtype=np.float64), [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "max": float(max(values))}
