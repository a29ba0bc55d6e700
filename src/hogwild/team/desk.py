"""The desk of a team: who waits for which tool. Functions run in threads of their own, while the others write on.

A call is known by its worker and its number, so that a team that does its run again finds the same calls here, with the
same ids, and no tool runs twice.
"""

from __future__ import annotations

import json
import secrets
import string
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any

from hogwild.errors import OptionError
from hogwild.team.messages import ID_LENGTH, arguments_of
from hogwild.team.tools import Found, Tool

_SIGNS = string.ascii_letters + string.digits


@dataclass
class Call:
    """A tool call. ``until``, by `time.monotonic`, is when it is given up; ``answered`` says that it has its result."""

    worker: str
    found: Found
    until: float
    id: str = field(default_factory=lambda: "".join(secrets.choice(_SIGNS) for _ in range(ID_LENGTH)))
    answered: bool = False


class Desk:
    """Starts what was called, and keeps results, which may come from any thread, until the team takes them.

    ``seconds`` is how long a result may take.
    """

    def __init__(self, tools: Sequence[Tool], seconds: float) -> None:
        self._results: deque[tuple[str, str]] = deque()
        self._tools = {tool.name: tool for tool in tools}
        self._seconds = seconds
        self._calls: dict[tuple[str, int], Call] = {}
        self._lock = Lock()  # a result may come just when it is given up

    def open(self, worker: str, number: int, found: Found) -> Call:
        """Begin a worker's call ``number``, or find the one that it has begun in a run before."""
        known = self._calls.get((worker, number))
        if known is not None:
            return known
        call = self._calls[worker, number] = Call(worker, found, time.monotonic() + self._seconds)
        tool = self._tools.get(found.name)
        arguments = arguments_of(found.arguments)
        if not found.name:
            self._answer(call, "error: this is no call: give one JSON object with the name and the arguments")
        elif tool is None:
            self._answer(call, f"error: there is no tool {found.name!r}, only {', '.join(self._tools)}")
        elif arguments is None:
            self._answer(call, "error: the arguments are no JSON object")
        elif tool.call is not None:
            Thread(target=self._run, args=(call, tool.call, arguments), name=f"tool {tool.name}", daemon=True).start()
        return call

    def answer(self, id: str, result: str) -> None:  # noqa: A002 - what everybody calls it
        """Bring the result of an open call. Raises `OptionError` where there is no such call, or it has its result."""
        call = next((call for call in list(self._calls.values()) if call.id == id), None)
        if call is None:
            raise OptionError(f"no tool call has the id {id!r}")
        if not self._answer(call, result):
            raise OptionError(f"the tool call {id!r} has its result already")

    @property
    def ready(self) -> bool:
        """Whether `take` has something."""
        return bool(self._results)

    def take(self) -> Iterator[tuple[str, str]]:
        """The results that have come, each with the id of its call, and once. What takes too long is given up here."""
        now = time.monotonic()
        for call in list(self._calls.values()):
            if now >= call.until:
                self._answer(call, f"error: no result after {self._seconds:g} seconds")
        while self._results:
            yield self._results.popleft()

    @property
    def until(self) -> float:
        """When the next open call is given up, by `time.monotonic`."""
        return min((call.until for call in list(self._calls.values()) if not call.answered), default=0.0)

    def _run(self, call: Call, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        try:
            value = function(**arguments)
            result = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        except BaseException as error:  # a tool can fail in every way that a program can; the model is told
            result = f"error: {type(error).__name__}: {error}"
        self._answer(call, result)

    def _answer(self, call: Call, result: str) -> bool:
        with self._lock:
            if call.answered:
                return False
            call.answered = True
        self._results.append((call.id, result))
        return True
