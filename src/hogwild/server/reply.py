"""From a team's events to an answer: content, the workers' thoughts, why it ended, what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hogwild.server.orders import Order
from hogwild.server.stops import StopText
from hogwild.team.events import AnswerToken, Event, Finished, Prefilled, StepFinished, StepStarted, Token, ToolCalled


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. ``worker`` is a dict of worker, step and pass, for a thought; ``call`` a tool call."""

    content: str = ""
    thought: str = ""
    worker: dict[str, Any] | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    call: dict[str, Any] | None = None


class Reply:
    """Follows one team. One worker's text is the answer; several workers' texts are thoughts, and the answer is last.

    ``longest`` is the most tokens of the final answer of several.

    Attributes: ``ended`` (nothing of the answer comes any more, though the team may still run), ``finish_reason``,
    ``content``, ``logprobs`` and ``calls`` so far.
    """

    def __init__(self, order: Order, longest: int) -> None:
        self._order = order
        self._longest = longest
        self._stop = StopText(order.stop)
        self._streams = order.options.get("answer", "text") == "text"  # the others are put together at the end
        self._finished: Finished | None = None
        self._tokens = {worker.name: 0 for worker in order.workers}
        self._unfinished: dict[str, str] = {}
        self._steps: list[str] = []
        self._answer_tokens = 0
        self.prompt_tokens = 0
        self.passes = 0
        self.ended = False
        self.finish_reason = "stop"
        self.content = ""
        self.logprobs: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []

    def read(self, event: Event) -> Iterator[Delta]:
        """What an event adds to the answer."""
        self.passes = event.pass_
        for delta in self._read(event):
            self.content += delta.content
            self.logprobs += delta.logprobs
            if delta.content or delta.thought or delta.call or delta.logprobs:
                yield delta

    def _read(self, event: Event) -> Iterator[Delta]:
        if isinstance(event, Prefilled):
            self.prompt_tokens = event.total
        elif isinstance(event, Finished):
            yield from self._finish(event)
        elif isinstance(event, Token):
            self._tokens[event.worker] = self._tokens.get(event.worker, 0) + 1
            if self._order.solo:
                yield from self._write(event)
            else:
                yield self._think(event.worker, event.step, event.pass_, event.text)
        elif isinstance(event, AnswerToken):
            self._answer_tokens += 1
            if self._streams and not self._order.solo:
                yield from self._write(event)
        elif isinstance(event, ToolCalled) and self._order.solo:
            yield self._call(event)
        elif not self._order.solo:
            yield from self._keep_steps(event)

    def _write(self, event: Token | AnswerToken) -> Iterator[Delta]:
        """A token of the answer."""
        lead = not self.content and not self._order.solo  # a finisher's answer has no white space around it
        text, carried = self._stop.push(event.text.lstrip() if lead else event.text, as_logprob(event))
        yield Delta(content=text, logprobs=carried)
        self.ended = self.ended or self._stop.found

    def _think(self, worker: str, step: int, pass_: int, text: str) -> Delta:
        self._unfinished[worker] = self._unfinished.get(worker, "") + text
        return Delta(thought=text, worker={"worker": worker, "step": step, "pass": pass_})

    def _keep_steps(self, event: Event) -> Iterator[Delta]:
        if isinstance(event, StepStarted):
            yield self._think(event.worker, event.step, event.pass_, event.text)
        elif isinstance(event, StepFinished):
            self._steps.append(event.text)
            self._unfinished.pop(event.worker, None)

    def _call(self, event: ToolCalled) -> Delta:
        """One worker calls a tool: its client answers with a new request."""
        call = {
            "index": len(self.calls),
            "id": event.call,
            "type": "function",
            "function": {"name": event.name, "arguments": event.arguments},
        }
        self.calls.append(call)
        self.ended, self.finish_reason = True, "tool_calls"
        return Delta(call=call)

    def _finish(self, event: Finished) -> Iterator[Delta]:
        self._finished, self.prompt_tokens = event, event.prompt_tokens
        if self.ended:
            return
        text, carried = self._stop.rest()
        yield Delta(content=text, logprobs=carried)
        if not self._order.solo and not (self.content or text):
            text, carried = self._stop.push(event.text)
            yield Delta(content=text + self._stop.rest()[0])
        self.ended, self.finish_reason = True, self._reason(event)

    def _reason(self, event: Finished) -> str:
        """``length`` where the answer is cut, or there is none."""
        if self._stop.found:
            return "stop"
        if self._order.solo:
            return "stop" if event.reason in ("done", "answer", "stopped") else "length"
        return "length" if event.answer is None or self._answer_tokens >= self._longest else "stop"

    @property
    def reasoning(self) -> str:
        """All steps in the order of their end, and those that were not finished."""
        return "\n\n".join(text.strip() for text in [*self._steps, *self._unfinished.values()] if text.strip())

    @property
    def workers(self) -> dict[str, int]:
        """Tokens that each worker has written."""
        return dict(self._finished.tokens) if self._finished else dict(self._tokens)

    @property
    def answer_tokens(self) -> int:
        """Tokens that the finisher has written."""
        return self._answer_tokens


def as_logprob(event: Token | AnswerToken) -> dict[str, Any] | None:
    """A token's log probability as OpenAI's API has it; None where the team was not asked for any."""
    if event.logprob is None:
        return None
    top = [_one(other.text, other.logprob) for other in event.top or []]
    return _one(event.text, event.logprob) | {"top_logprobs": top}


def _one(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode("utf-8", "replace"))}


def usage(replies: list[Reply], prompts: int = 1) -> dict[str, Any]:
    """The tokens of all choices. A prompt of ``n`` choices counts once; ``prompts`` says how many there are."""
    each = len(replies) // prompts
    prompt = sum(reply.prompt_tokens for reply in replies[::each])
    thoughts = sum(sum(reply.workers.values()) for reply in replies if len(reply.workers) > 1)
    written = sum(sum(reply.workers.values()) + reply.answer_tokens for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
        "hogwild": {
            "workers": [reply.workers for reply in replies],
            "answer": [reply.answer_tokens for reply in replies],
            "passes": sum(reply.passes for reply in replies),
        },
    }


def for_log(taken: dict[str, Any]) -> dict[str, Any]:
    """What the log's line has of a `usage`."""
    names = ("prompt_tokens", "completion_tokens")
    return {**{name: taken[name] for name in names}, "passes": taken["hogwild"]["passes"]}
