"""``POST /v1/responses``: the stateless subset. What several workers think is a reasoning item, ahead of the answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, Request

from hogwild.server.batch import Batch
from hogwild.server.deps import KeyOf, ServiceOf
from hogwild.server.errors import unsupported
from hogwild.server.logs import note
from hogwild.server.orders import of_chat
from hogwild.server.reply import Delta, Reply, for_log, usage
from hogwild.server.schemas.base import REFUSALS, STREAM, ChatMessage, JsonSchema, ResponseFormat
from hogwild.server.schemas.chat import ChatRequest
from hogwild.server.schemas.responses import ResponsesRequest
from hogwild.server.sse import COMMENT, EventStream, data, unless_gone

router = APIRouter(tags=["completions"], responses=REFUSALS)


@router.post(
    "/v1/responses",
    response_model=dict[str, Any],
    responses=STREAM,
)
async def respond(request: Request, body: ResponsesRequest, service: ServiceOf, key: KeyOf) -> Any:
    """Answer an input."""
    order = of_chat(_as_chat(body), service.name, service.settings)
    if len(order.seeds) > 1:
        raise unsupported("hogwild.seeds", "a response has one answer; give seed")
    note(request, user=body.user, text=body.input if isinstance(body.input, str) else [i.content for i in body.input])
    batch = await Batch.open(request, service, [order], key)
    answer = _Answer(body)
    if body.stream:
        await batch.begin(request)
        return EventStream(_stream(request, batch, answer))
    async with batch:
        await unless_gone(request, batch.collect())
        note(request, **for_log(usage(batch.replies)))
        return answer.whole(batch.replies[0])


def _as_chat(body: ResponsesRequest) -> ChatRequest:
    turns = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        turns.append(ChatMessage(role="user", content=body.input))
    else:
        turns += [message.as_chat() for message in body.input]
    form = body.text.format
    schema = None if form.json_schema is None else JsonSchema(name=form.name, schema=form.json_schema)
    if form.type == "json_schema" and schema is None:
        raise unsupported("text.format.schema", "json_schema needs one")
    return ChatRequest(
        model=body.model,
        messages=turns,
        max_tokens=body.max_output_tokens,
        seed=body.seed,
        response_format=None if form.type == "text" else ResponseFormat(type=form.type, json_schema=schema),
        hogwild=body.hogwild,
        **body.sampling(),
    )


class _Answer:
    """One response object and its items, in their states."""

    def __init__(self, body: ResponsesRequest) -> None:
        self._body = body
        self._id = f"resp_{uuid.uuid4().hex}"
        self._created = int(time.time())
        self.message = f"msg_{uuid.uuid4().hex}"
        self.thoughts = f"rs_{uuid.uuid4().hex}"

    def shell(self, status: str, output: list[dict[str, Any]], taken: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response around its output."""
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "text": {"format": {"type": body.text.format.type}},
            "tool_choice": "none",
            "tools": [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": taken,
            "metadata": {},
        }

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The response when it is complete."""
        status = "incomplete" if reply.finish_reason == "length" else "completed"
        items = [self.item_of_thoughts(reply.reasoning, "completed")] if reply.reasoning else []
        counts = usage([reply])
        taken = {
            "input_tokens": counts["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": counts["completion_tokens"],
            "output_tokens_details": counts["completion_tokens_details"],
            "total_tokens": counts["total_tokens"],
            "hogwild": counts["hogwild"],
        }
        return self.shell(status, [*items, self.item_of_text(reply.content, status)], taken)

    def item_of_text(self, text: str, status: str) -> dict[str, Any]:
        """The answer as an item."""
        content = [] if status == "in_progress" else [part_of_text(text)]
        return {"id": self.message, "type": "message", "role": "assistant", "status": status, "content": content}

    def item_of_thoughts(self, text: str, status: str) -> dict[str, Any]:
        """The workers' text as an item."""
        content = [] if status == "in_progress" else [{"type": "reasoning_text", "text": text}]
        return {"id": self.thoughts, "type": "reasoning", "summary": [], "status": status, "content": content}


def part_of_text(text: str) -> dict[str, Any]:
    """The answer as a part of its item."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class _Events:
    """The events of a stream: each item is opened, written, and closed."""

    def __init__(self, answer: _Answer, reply: Reply) -> None:
        self._answer = answer
        self._reply = reply
        self._number = 0
        self._thinking = self._writing = False
        self._index = 0

    def event(self, kind: str, **fields: Any) -> str:
        """One event of the stream."""
        self._number += 1
        return data({"type": kind, "sequence_number": self._number - 1, **fields}, kind=kind)

    def begin(self) -> Iterator[str]:
        """Ahead of all items."""
        shell = self._answer.shell("in_progress", [])
        yield self.event("response.created", response=shell)
        yield self.event("response.in_progress", response=shell)

    def read(self, delta: Delta) -> Iterator[str]:
        """What a piece of the answer adds."""
        if delta.thought:
            yield from self._open_thoughts()
            place = {"item_id": self._answer.thoughts, "output_index": self._index, "content_index": 0}
            yield self.event("response.reasoning_text.delta", **place, delta=delta.thought, hogwild=delta.worker)
        elif delta.content:
            yield from self._open_text()
            place = {"item_id": self._answer.message, "output_index": self._index, "content_index": 0}
            yield self.event("response.output_text.delta", **place, delta=delta.content, logprobs=[])

    def end(self) -> Iterator[str]:
        """Behind all items."""
        yield from self._open_text()
        reply, answer = self._reply, self._answer
        whole = answer.whole(reply)
        place = {"item_id": answer.message, "output_index": self._index, "content_index": 0}
        yield self.event("response.output_text.done", **place, text=reply.content, logprobs=[])
        yield self.event("response.content_part.done", **place, part=part_of_text(reply.content))
        yield self.event("response.output_item.done", output_index=self._index, item=whole["output"][-1])
        yield self.event(f"response.{whole['status']}", response=whole)

    def _open_thoughts(self) -> Iterator[str]:
        if not self._thinking:
            self._thinking = True
            item = self._answer.item_of_thoughts("", "in_progress")
            yield self.event("response.output_item.added", output_index=0, item=item)

    def _open_text(self) -> Iterator[str]:
        if self._writing:
            return
        self._writing = True
        answer = self._answer
        if self._thinking:
            text = self._reply.reasoning
            place = {"item_id": answer.thoughts, "output_index": 0, "content_index": 0}
            yield self.event("response.reasoning_text.done", **place, text=text)
            item = answer.item_of_thoughts(text, "completed")
            yield self.event("response.output_item.done", output_index=0, item=item)
            self._index = 1
        item = answer.item_of_text("", "in_progress")
        yield self.event("response.output_item.added", output_index=self._index, item=item)
        place = {"item_id": answer.message, "output_index": self._index, "content_index": 0}
        yield self.event("response.content_part.added", **place, part=part_of_text(""))


async def _stream(request: Request, batch: Batch, answer: _Answer) -> AsyncIterator[str]:
    writer = _Events(answer, batch.replies[0])
    async with batch:
        for piece in writer.begin():
            yield piece
        async for one in batch.deltas():
            if one is None:
                yield COMMENT
            elif one[1] is not None:
                for piece in writer.read(one[1]):
                    yield piece
        note(request, **for_log(usage(batch.replies)))
        for piece in writer.end():
            yield piece
