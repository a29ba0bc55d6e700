"""The stateless part of OpenAI's Responses API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hogwild.server.schemas.base import Asked, ChatMessage, Count, HogwildOptions, SamplingFields, Seed, TextPart


class InputMessage(Asked):
    """A turn of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    id: str | None = None
    status: str | None = None

    def as_chat(self) -> ChatMessage:
        """The same turn, as a chat completion has it."""
        return ChatMessage(role=self.role, content=self.content)


class TextFormat(Asked):
    """The form of the answer's text."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextOptions(Asked):
    """About the answer's text."""

    format: TextFormat = Field(default_factory=TextFormat)


class ResponsesRequest(SamplingFields):
    """``POST /v1/responses``. Nothing is stored: each request brings its whole conversation."""

    model: str
    input: str | list[InputMessage] = Field(min_length=1)
    instructions: str | None = None
    max_output_tokens: Count | None = Field(None, description="passes: tokens of one worker, or of each")
    stream: bool = False
    store: Literal[False] | None = None
    text: TextOptions = Field(default_factory=TextOptions)
    truncation: Literal["disabled"] | None = None
    seed: Seed | None = None
    user: str | None = None
    hogwild: HogwildOptions = Field(default_factory=HogwildOptions)
