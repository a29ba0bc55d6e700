"""Tools: what a worker may call, in the format that the model's own chat template has for calls and results.

The format is found by rendering the template with a call that can be told from everything else. Two kinds are known:
one JSON object that holds the name and the arguments, and a name in front of an object of arguments. Text only.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hogwild.errors import ModelUnsupported, OptionError
from hogwild.team.messages import arguments_of, every_text
from hogwild.team.text import Codec, Message

BEGINNING = 256
"""Signs at the beginning of a text that tell whether it is the object of a call."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL, _KEY, _VALUE, _RESULT = "probe_tool", "probe_key", "probe_value", "probe_result"
_ID = "probe0000"  # some templates want nine letters and digits
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Tool:
    """What a worker may call.

    ``parameters`` is the JSON schema of the arguments, an object. ``call`` gets them by name, in a thread of its own,
    and what it returns is the result; without it, `Team.answer_tool` brings the result.

    Raises:
        OptionError: a value is not what it must be.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    call: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise OptionError(f"name of a tool is {self.name!r}: give 1 to 64 letters, digits, _ and -")
        if not isinstance(self.description or "", str):
            raise OptionError(f"description of {self.name} is {self.description!r}: give a text")
        if not isinstance(self.parameters or {}, Mapping):
            raise OptionError(f"parameters of {self.name} are {self.parameters!r}: give a JSON schema as a dict")
        if self.call is not None and not callable(self.call):
            raise OptionError(f"call of {self.name} is {self.call!r}: give a function, or None")
        if inspect.iscoroutinefunction(self.call):
            raise OptionError(f"call of {self.name} is a coroutine: give a function that returns the result")

    def definition(self) -> dict[str, Any]:
        """As chat templates and OpenAI's API have it. Raises `OptionError` where the parameters are no JSON."""
        parameters = dict(self.parameters or {"type": "object", "properties": {}})
        try:
            json.dumps(parameters, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OptionError(f"parameters of {self.name} are no JSON: {error}") from None
        about = {"name": self.name, "description": self.description or "", "parameters": parameters}
        return {"type": "function", "function": about}


@dataclass(frozen=True)
class Found:
    """A call in a text: ``arguments`` is JSON; ``rest`` is what was written behind the call. No name: it is broken.

    ``bare`` says that it stands there without its marker.
    """

    name: str
    arguments: str
    rest: str
    bare: bool = False


def check_tools(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools of a team. Raises `OptionError` unless they are tools with names of their own."""
    if not isinstance(tools, (list, tuple)) or not all(isinstance(tool, Tool) for tool in tools):
        raise OptionError(f"tools is {tools!r}: give a list of Tool")
    names = [tool.name for tool in tools]
    if twice := {name for name in names if names.count(name) > 1}:
        raise OptionError(f"two tools are called {min(twice)!r}: give each a name of its own")
    return tuple(tools)


class ToolBox:
    """The tools of one team, and how its model calls them.

    Attributes: ``definitions``, for the chat template; ``marker``, which opens a call, perhaps empty; ``closing``, what
    ends one; ``ids``, the special tokens that are needed for a call.

    Raises:
        ModelUnsupported: the chat template knows no tools, or has another format for calls.
    """

    def __init__(self, tools: Sequence[Tool], codec: Codec, model: str) -> None:
        self._codec = codec
        self._names = {tool.name for tool in tools}
        self.definitions: list[dict[str, Any]] = [every_text(tool.definition(), codec.harmless) for tool in tools]
        self._as_text = False  # the template takes the arguments as text
        self._find_format(model)
        self.ids = set(codec.encode(self.opening + (self._between or "") + self.closing)) & set(
            codec.forbidden_ids
        ) - set(codec.end_ids)

    # What a worker writes.

    def find(self, text: str) -> Found | None:
        """The call that ``text`` holds, once it is complete; of several, the first.

        A text that begins as the object of a call of a known tool is one without its marker, too: small models forget.
        """
        place = text.find(self.marker) if self.marker else -1
        if place < 0:
            return self._find_object(text, bare=True) if self._may_begin(text) else None
        call = text[place + len(self.marker) :]
        found = self._find_object(call) if self._between is None else self._find_named(call)
        if found is None and self.closing.strip() and self.closing.strip() in call:
            body, _, rest = call.partition(self.closing.strip())
            return Found("", body.strip(), self.closing + rest)
        return found

    def shown(self, text: str) -> int:
        """How much of ``text`` is no part of a call, and cannot become one."""
        begin = text.find(self.marker) if self.marker else -1
        if begin >= 0:
            return begin
        if self._may_begin(text):
            return 0
        sizes = range(min(len(self.marker) - 1, len(text)), 0, -1)
        return len(text) - next((size for size in sizes if self.marker.startswith(text[-size:])), 0)

    def _may_begin(self, text: str) -> bool:
        """Whether a text is, or begins as, the object of a call."""
        text = "".join(text[:BEGINNING].split())
        return any(text.startswith(head) or head.startswith(text) for head in self._heads)

    def _find_object(self, call: str, bare: bool = False) -> Found | None:
        begin = call.find("{")
        if begin < 0:
            return None
        try:
            value, end = _DECODER.raw_decode(call, begin)
        except ValueError:
            return None
        name, arguments = _at(value, self._name_path), _at(value, self._arguments_path)
        if not isinstance(name, str) or (bare and name not in self._names):
            return None if bare else Found("", call[begin:end], call[end:])
        return Found(name, _as_json(arguments), call[end:], bare)

    def _find_named(self, call: str) -> Found | None:
        name, separator, arguments = call.partition(self._between or "")
        begin = arguments.find("{")
        if not separator or begin < 0:
            return None
        try:
            value, end = _DECODER.raw_decode(arguments, begin)
        except ValueError:
            return None
        return Found(name.strip(), _as_json(value), arguments[end:])

    def returned(self, result: str, call: str, found: Found) -> str:
        """What stands between a call and the words that follow its result, but for what was written of that."""
        text = self._render(self._codec.harmless(result), call)
        behind = text[self._end_of_call(text) + len(self.closing) * found.bare :]
        return behind[len(found.rest) :] if behind.startswith(found.rest) else behind

    # How the format is found.

    def _render(self, result: str, call: str = _ID) -> str:
        arguments: Any = {_KEY: _VALUE}
        function = {"name": _TOOL, "arguments": json.dumps(arguments) if self._as_text else arguments}
        messages: list[Message] = [
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "content": result, "tool_call_id": call, "name": _TOOL},
        ]
        return self._codec.render(messages, self.definitions)

    def _find_format(self, model: str) -> None:
        if not self._codec.tokenizer.chat_template:
            raise ModelUnsupported(f"{model} has no chat template, so nobody knows how it calls tools: leave tools out")
        question: list[Message] = [{"role": "user", "content": "?"}]
        if self._codec.render(question, self.definitions) == self._codec.render(question):
            raise ModelUnsupported(
                f"the chat template of {model} knows no tools: leave tools out or take another model"
            )
        problem = "it writes them in a form that is no JSON, or shows no result"
        for self._as_text in (False, True):
            try:
                text = self._render(_RESULT)
            except ModelUnsupported as error:
                problem = problem if self._as_text else str(error)
                continue
            if _RESULT in text and self._read_format(text):
                return
        raise ModelUnsupported(f"the tool calls of {model} cannot be read: {problem}")

    def _read_format(self, text: str) -> bool:
        """Find the parts of a call in a rendered conversation."""
        begin = text.find(_TOOL)
        if begin < 0 or _KEY not in text:
            return False
        start = len(self._common_start(text))
        self._between: str | None = None
        self._heads: list[str] = []
        for place in (match.start() for match in re.finditer(r"\{", text[start:])):
            value, end = _decoded(text, start + place)
            names, arguments = _paths(value, _TOOL), _paths(value, {_KEY: _VALUE})
            if not names:
                continue
            if not arguments:
                return False
            self._name_path, self._arguments_path = names[0], arguments[0]
            self._heads = self._heads_of(text[start + place :])
            self.opening = text[start : start + place]
            return self._set_marker(text[end:])
        end_of_name = begin + len(_TOOL)
        place = text.find("{", end_of_name)
        if place < 0 or _decoded(text, place)[0] != {_KEY: _VALUE}:
            return False
        self.opening, self._between = text[start:begin], text[end_of_name:place].strip()
        return bool(self.opening.strip() and self._between) and self._set_marker(text[_decoded(text, place)[1] :])

    def _heads_of(self, call: str) -> list[str]:
        """How an object of a call begins, without white space: up to the name of a tool, if that comes first."""
        head, _, _ = call.partition(_KEY)
        before, named, _ = "".join(head.split()).partition(_TOOL)
        return [f'{before}{name}"' for name in sorted(self._names)] if named else [before]

    def _set_marker(self, behind: str) -> bool:
        added = [token for token in self._codec.tokenizer.get_added_vocab() if self.opening.lstrip().startswith(token)]
        self.marker = max(added, key=len, default=self.opening.strip())
        turn = self._codec.turns.user[:4]
        self.closing = behind[: behind.find(turn)] if turn.strip() and turn in behind else ""
        return True

    def _common_start(self, text: str) -> str:
        """The conversation up to where the assistant begins to write."""
        start = self._codec.render([{"role": "user", "content": "?"}], self.definitions)
        while not text.startswith(start):  # some open a turn of calls otherwise
            start = start[:-1]
        return start

    def _end_of_call(self, text: str) -> int:
        start = len(self._common_start(text))
        first = text.index("{", start) if self._between is None else text.index("{", text.index(_TOOL, start))
        places = [match.start() for match in re.finditer(r"\{", text) if match.start() >= first]
        return next(end for place in places if (end := _decoded(text, place)[1]) > text.index(_KEY, start))


def _decoded(text: str, place: int) -> tuple[Any, int]:
    """The JSON value that begins at a place, and its end; (None, -1) where there is none."""
    try:
        return _DECODER.raw_decode(text, place)
    except ValueError:
        return None, -1


def _paths(value: Any, wanted: Any) -> list[tuple[str, ...]]:
    """Where something stands in nested objects. Arguments may be JSON in a text."""
    if value == wanted or (isinstance(wanted, dict) and isinstance(value, str) and arguments_of(value) == wanted):
        return [()]
    inner = value.items() if isinstance(value, dict) else []
    return [(key, *path) for key, one in inner for path in _paths(one, wanted)]


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _as_json(arguments: Any) -> str:
    """Arguments as JSON, whether a model wrote an object or a text that holds one."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps({} if arguments is None else arguments, ensure_ascii=False)
