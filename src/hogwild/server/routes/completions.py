"""``POST /v1/completions``: a raw text goes on, without a chat around it."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request

from hogwild.server.batch import Batch
from hogwild.server.deps import KeyOf, ServiceOf
from hogwild.server.logs import note
from hogwild.server.orders import of_completion
from hogwild.server.reply import for_log, usage
from hogwild.server.schemas.base import REFUSALS, STREAM
from hogwild.server.schemas.chat import Completion, CompletionRequest
from hogwild.server.sse import COMMENT, DONE, EventStream, data, unless_gone

router = APIRouter(tags=["completions"], responses=REFUSALS)


@router.post(
    "/v1/completions",
    response_model=Completion,
    response_model_exclude_none=True,
    responses=STREAM,
)
async def complete(request: Request, body: CompletionRequest, service: ServiceOf, key: KeyOf) -> Any:
    """Let one worker go on with each text."""
    orders = of_completion(body, service.name, service.settings)
    note(request, user=body.user, text=body.prompt)
    batch = await Batch.open(request, service, orders, key)
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
    head["model"] = body.model
    if body.stream:
        await batch.begin(request)
        return EventStream(_chunks(request, batch, head, body, len(orders)))
    async with batch:
        await unless_gone(request, batch.collect())
        taken = usage(batch.replies, len(orders))
        note(request, **for_log(taken))
        choices = [
            _choice(index, reply.content, reply.logprobs, body) | {"finish_reason": reply.finish_reason}
            for index, reply in enumerate(batch.replies)
        ]
        return {**head, "choices": choices, "usage": taken}


async def _chunks(
    request: Request, batch: Batch, head: dict[str, Any], body: CompletionRequest, prompts: int
) -> AsyncIterator[str]:
    options = body.stream_options
    tail = {"usage": None} if options and options.include_usage else {}
    offsets = [0] * len(batch.replies)
    async with batch:
        async for one in batch.deltas():
            if one is None:
                yield COMMENT
                continue
            index, delta = one
            if delta is None:
                choice = _choice(index, "", [], body) | {"finish_reason": batch.replies[index].finish_reason}
            else:
                choice = _choice(index, delta.content, delta.logprobs, body, offsets[index]) | {"finish_reason": None}
                offsets[index] += sum(len(one["token"]) for one in delta.logprobs)
            yield data({**head, "choices": [choice], **tail})
        taken = usage(batch.replies, prompts)
        note(request, **for_log(taken))
        if tail:
            yield data({**head, "choices": [], "usage": taken})
        yield DONE


def _choice(
    index: int, text: str, logprobs: list[dict[str, Any]], body: CompletionRequest, offset: int = 0
) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "text": text}
    return choice if body.logprobs is None else choice | {"logprobs": _as_lists(logprobs, offset)}


def _as_lists(logprobs: list[dict[str, Any]], offset: int) -> dict[str, Any]:
    """Log probabilities as this older API has them: a list a property."""
    offsets = list[int]()
    for one in logprobs:
        offsets.append(offset)
        offset += len(one["token"])
    return {
        "tokens": [one["token"] for one in logprobs],
        "token_logprobs": [one["logprob"] for one in logprobs],
        "top_logprobs": [{top["token"]: top["logprob"] for top in one["top_logprobs"]} for one in logprobs],
        "text_offset": offsets,
    }
