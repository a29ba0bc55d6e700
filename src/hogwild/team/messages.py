"""What a team is asked: a text, or a conversation whose last user message is the task. Text only: no tensors here.

A message is a mapping in the form that chat templates and OpenAI's API share:

    {"role": "system" | "user" | "assistant" | "tool", "content": str}

An assistant's message may have ``tool_calls`` (a list of ``{"id", "type", "function": {"name", "arguments"}}``), and
then no content; a tool's message may have ``tool_call_id`` and ``name``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hogwild.errors import OptionError
from hogwild.team.text import Message, clean

FIELDS = {
    "system": {"content"},
    "user": {"content", "name"},
    "assistant": {"content", "name", "tool_calls"},
    "tool": {"content", "name", "tool_call_id"},
}
"""What a message of each role may have beside its role."""

ID_LENGTH = 9
"""Letters and digits in the id of a tool call."""


@dataclass(frozen=True)
class Conversation:
    """A task and what stands around it.

    Attributes:
        task: the last user message, or all of a raw prompt.
        before: the messages in front of it.
        after: those behind it: tools that were called, and what they returned.
        raw: the task is the whole prompt, with no chat around it.
    """

    task: str
    before: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()
    raw: bool = False

    @property
    def messages(self) -> list[Message]:
        """All messages, in order."""
        return [*self.before, {"role": "user", "content": self.task}, *self.after]

    def harmless(self, harmless: Callable[[str], str]) -> Conversation:
        """The same with every text in it made harmless, but for a raw prompt, which is as its writer wants it."""
        if self.raw:
            return self
        before, after = ([every_text(one, harmless) for one in part] for part in (self.before, self.after))
        return Conversation(harmless(self.task), tuple(before), tuple(after))


def read_conversation(task: str | Sequence[Message], raw: bool = False) -> Conversation:
    """A conversation from what a user gave as the task.

    Raises:
        OptionError: there is nothing in it, a message is none, or the last one is not from a user or a tool.
    """
    if not isinstance(raw, bool):
        raise OptionError(f"raw is {raw!r}: give True or False")
    if isinstance(task, str):
        if not task or not (raw or task.strip()):
            raise OptionError(f"task is {task!r}: say what the team should do")
        return Conversation(clean(task), raw=raw)
    if raw:
        raise OptionError("raw=True takes the prompt as one text: give a str as the task, or leave raw out")
    if not isinstance(task, (list, tuple)) or not task:
        raise OptionError(f"task is {task!r}: give a text, or a list of messages")
    messages = [_read(message, f"message {number}") for number, message in enumerate(task, 1)]
    asked = [place for place, message in enumerate(messages) if message["role"] == "user"]
    if not asked or not messages[asked[-1]]["content"].strip():
        raise OptionError("task has no user message that says what to do: add one")
    if messages[-1]["role"] not in ("user", "tool"):
        raise OptionError(f"the last message is from {messages[-1]['role']!r}: end with one from the user or a tool")
    last = asked[-1]
    return Conversation(messages[last]["content"], tuple(messages[:last]), tuple(messages[last + 1 :]))


def every_text(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed, the names of fields too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): every_text(one, change) for key, one in value.items()}
    return [every_text(one, change) for one in value] if isinstance(value, (list, tuple)) else value


def arguments_of(text: str) -> dict[str, Any] | None:
    """The arguments of a call from their JSON, or None where that is no object."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def short_id(call: str) -> str:
    """The id of a call as nine letters and digits, which some chat templates want; such a one is left as it is."""
    fits = len(call) == ID_LENGTH and call.isascii() and call.isalnum()
    return call if fits else hashlib.blake2b(clean(call).encode(), digest_size=8).hexdigest()[:ID_LENGTH]


def _read(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping) or message.get("role") not in FIELDS:
        raise OptionError(f"{where} is {message!r}: give a mapping with content and role, one of {', '.join(FIELDS)}")
    role = message["role"]
    given = {key: value for key, value in message.items() if value is not None}
    unknown = sorted(map(str, set(given) - FIELDS[role] - {"role"}))
    if unknown:
        raise OptionError(f"{where} has {unknown[0]}, which a message from {role!r} cannot have: leave it out")
    read: dict[str, Any] = {"role": role, "content": given.get("content", "" if "tool_calls" in given else None)}
    for field in [*sorted(set(given) - {"tool_calls", "role", "content"}), "content"]:
        read[field] = read.get(field, given.get(field))
        if not isinstance(read[field], str):
            raise OptionError(f"{field} of {where} is {read[field]!r}: give a text")
        read[field] = short_id(read[field]) if field == "tool_call_id" else clean(read[field])
    if "tool_calls" in given:
        read["tool_calls"] = _read_calls(given["tool_calls"], where)
    return read


def _read_calls(calls: Any, where: str) -> list[dict[str, Any]]:
    """Tool calls as chat templates take them: with the arguments as an object."""
    read = list[dict[str, Any]]()
    for given in calls if isinstance(calls, (list, tuple)) else [None]:
        call = given if isinstance(given, Mapping) else {}
        function = call.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise OptionError(f'tool_calls of {where} need a list of {{"function": {{"name": ..., "arguments": ...}}}}')
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            arguments = arguments_of(arguments)
        if not isinstance(arguments, Mapping):
            raise OptionError(f"the arguments of {function['name']} in {where} are no JSON object")
        function = {"name": function["name"], "arguments": dict(arguments)}
        read.append(
            {"id": short_id(str(call.get("id", ""))), "type": "function", "function": every_text(function, clean)}
        )
    if not read:
        raise OptionError(f"tool_calls of {where} are none: leave them out")
    return read
