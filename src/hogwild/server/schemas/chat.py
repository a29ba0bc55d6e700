"""Chat completions and completions, as OpenAI's API has them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hogwild.server.schemas.base import (
    Asked,
    ChatMessage,
    Count,
    FunctionTool,
    Given,
    HogwildOptions,
    ResponseFormat,
    SamplingFields,
    Seed,
    Usage,
)  # fmt: skip


class StreamOptions(Asked):
    """What a stream has besides the answer."""

    include_usage: bool = False


class CompletionFields(SamplingFields):
    """What both kinds of completion take."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Count = 1
    seed: Seed | None = Field(None, description="choice i has the seed + i; 0 by default")
    stop: str | list[str] | None = None
    user: str | None = Field(None, description="goes into the log")
    hogwild: HogwildOptions = Field(default_factory=HogwildOptions)

    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(CompletionFields):
    """``POST /v1/chat/completions``."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: Count | None = Field(None, description="passes: tokens of one worker; of each where there are several")
    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = Field(None, description="for one worker; POST /v1/teams takes them for several")
    tool_choice: Literal["auto", "none"] | None = None
    store: Literal[False] | None = None


class CompletionRequest(CompletionFields):
    """``POST /v1/completions``."""

    prompt: str | list[str]
    max_tokens: Count = 16
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None


class TokenLogprob(Given):
    """A token and its log probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChosenLogprob(TokenLogprob):
    """A token that was written, and what else could have been."""

    top_logprobs: list[TokenLogprob]


class Logprobs(Given):
    """The tokens of an answer."""

    content: list[ChosenLogprob]


class AnswerMessage(Given):
    """The answer. ``reasoning_content`` is what several workers wrote, step by step."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    hogwild: dict[str, Any] | None = None


class ChatChoice(Given):
    """One of ``n`` answers."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(Given):
    """The answer to a chat completion that is not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = None


class TextLogprobs(Given):
    """The tokens of a completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Given):
    """One of the texts of a completion."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Literal["stop", "length"]


class Completion(Given):
    """The answer to a completion that is not streamed."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str | None = None
