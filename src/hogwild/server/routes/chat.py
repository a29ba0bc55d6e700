"""``POST /v1/chat/completions``: one worker answers as any model does; of several, the thoughts are reasoning."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request

from hogwild.server.batch import Batch
from hogwild.server.deps import KeyOf, ServiceOf
from hogwild.server.logs import note
from hogwild.server.orders import of_chat
from hogwild.server.reply import Delta, Reply, for_log, usage
from hogwild.server.schemas.base import REFUSALS, STREAM
from hogwild.server.schemas.chat import ChatCompletion, ChatRequest
from hogwild.server.sse import COMMENT, DONE, EventStream, data, unless_gone

router = APIRouter(tags=["completions"], responses=REFUSALS)


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    response_model_exclude_none=True,
    responses=STREAM,
)
async def chat(request: Request, body: ChatRequest, service: ServiceOf, key: KeyOf) -> Any:
    """Answer a conversation."""
    order = of_chat(body, service.name, service.settings)
    note(request, user=body.user, text=[message.content for message in body.messages])
    batch = await Batch.open(request, service, [order], key)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model}
    if body.stream:
        await batch.begin(request)
        return EventStream(_chunks(request, batch, head | {"object": "chat.completion.chunk"}, body))
    async with batch:
        await unless_gone(request, batch.collect())
        taken = usage(batch.replies)
        note(request, **for_log(taken))
        choices = [_choice(index, reply, body) for index, reply in enumerate(batch.replies)]
        return {**head, "object": "chat.completion", "choices": choices, "usage": taken}


def _choice(index: int, reply: Reply, body: ChatRequest) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.reasoning:
        message |= {"reasoning_content": reply.reasoning, "reasoning": reply.reasoning}
        message["hogwild"] = {"workers": reply.workers, "passes": reply.passes}
    if reply.calls:
        calls = [{name: value for name, value in call.items() if name != "index"} for call in reply.calls]
        message |= {"tool_calls": calls, "content": reply.content or None}
    choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": reply.finish_reason}
    return choice | ({"logprobs": {"content": reply.logprobs}} if body.logprobs else {})


async def _chunks(request: Request, batch: Batch, head: dict[str, Any], body: ChatRequest) -> AsyncIterator[str]:
    """The chunks of a stream; the last one has the usage, if it was asked for."""
    options = body.stream_options
    tail = {"usage": None} if options and options.include_usage else {}

    def chunk(index: int, delta: dict[str, Any], **more: Any) -> str:
        return data({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None, **more}], **tail})

    with_logprobs = {"logprobs": None} if body.logprobs else {}
    async with batch:
        for index in range(len(batch.replies)):
            yield chunk(index, {"role": "assistant", "content": ""}, **with_logprobs)
        async for one in batch.deltas():
            if one is None:
                yield COMMENT
                continue
            index, delta = one
            if delta is None:
                yield chunk(index, {}, finish_reason=batch.replies[index].finish_reason, **with_logprobs)
            else:
                logprobs = {"logprobs": {"content": delta.logprobs}} if body.logprobs else {}
                yield chunk(index, _fields(delta), **logprobs)
        taken = usage(batch.replies)
        note(request, **for_log(taken))
        if tail:
            yield data({**head, "choices": [], "usage": taken})
        yield DONE


def _fields(delta: Delta) -> dict[str, Any]:
    if delta.thought:
        return {"reasoning_content": delta.thought, "reasoning": delta.thought, "hogwild": delta.worker}
    if delta.call:
        return {"tool_calls": [delta.call]}
    return {"content": delta.content}
