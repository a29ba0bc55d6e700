"""What all requests share: an unknown field is refused by its name, and null is the same as leaving a field out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Layout = Literal["combined", "contiguous", "interleaved"]
Answer = Literal["text", "boxed", "number", "code"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


class Asked(BaseModel):
    """A request, or a part of one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class Given(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class SamplingFields(Asked):
    """How tokens are chosen. What is left out is the model's own."""

    temperature: float | None = Field(None, ge=0, le=100, description="0 takes the likeliest token")
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31, description="0 keeps all")
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=100)

    def sampling(self) -> dict[str, Any]:
        """What was given, by the names of `Sampling`."""
        names = SamplingFields.model_fields
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class HogwildOptions(Asked):
    """The team behind an answer."""

    workers: Count | None = Field(None, description="overrides what the model's alias says")
    layout: Layout | None = None
    budget: Count | None = Field(None, description="passes; overrides max_tokens")
    names: list[str] | None = Field(None, description="of the workers")
    prompts: list[str] | None = Field(None, description="a role for each worker, empty for none")
    seeds: list[Seed] | None = Field(None, description="one for each of the n choices")
    answer: Answer | None = Field(None, description="the form of the answer; several workers only")
    answer_tokens: Count | None = Field(None, description="of the final answer at most")
    parts: list[str | list[str]] | None = Field(None, description="of the task, shared out to the workers")
    one_by_one: bool = Field(False, description="hand parts out one by one, to whoever is free, instead of in runs")
    check_every: int | None = Field(None, ge=0, lt=2**31, description="tokens between questions about redundant work")


class TextPart(Asked):
    """A piece of a message. Text is all that models here read."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class FunctionCall(Asked):
    """Which function a worker calls, with arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Asked):
    """A call in an assistant's message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Asked):
    """A turn of a conversation. What an assistant thought in earlier turns is taken, and not shown to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    hogwild: dict[str, Any] | None = None

    def as_message(self) -> dict[str, Any]:
        """As a team takes it."""
        parts = self.content or ""
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        message: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        for field in ("name", "tool_call_id"):
            if getattr(self, field) is not None:
                message[field] = getattr(self, field)
        return message


class Function(Asked):
    """A function that a model may call; ``parameters`` is a JSON schema."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class FunctionTool(Asked):
    """A tool, as the OpenAI API writes it."""

    type: Literal["function"]
    function: Function


class JsonSchema(Asked):
    """The schema that an answer follows."""

    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(None, description="the schema is always followed")


class ResponseFormat(Asked):
    """The form of the answer's text."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_of_answer(self) -> dict[str, Any] | None:
        """The JSON schema to follow, or None for free text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "object"}
        if self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self.json_schema.schema_

    @model_validator(mode="after")
    def _has_its_schema(self) -> ResponseFormat:
        self.schema_of_answer()
        return self


class Failure(Given):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(Given):
    """Every answer but a success looks like this."""

    error: Failure


class Usage(Given):
    """Tokens of a request. Those of the workers' thoughts count as ``reasoning_tokens`` where there are several."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: dict[str, int]
    hogwild: dict[str, Any] = Field(description="tokens by worker, one object for each choice; passes of all choices")


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": what}
    for status, what in {
        400: "The request cannot be as it is",
        401: "No key, or none of this server's",
        404: "No such model or team",
        408: "The body did not come in time",
        409: "The team has ended, or cannot do this",
        413: "The body is too large",
        429: "Too many open requests of this key",
        500: "Something went wrong here",
        503: "The queue is full, or the server is stopping",
    }.items()
}
"""For a route's ``responses``."""

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
                }
            }
        }
    }
}
"""For the ``responses`` of a route that can answer by server-sent events."""
