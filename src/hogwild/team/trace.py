"""A run as a file: one event a line, as JSON. What is on disk is whole at any moment."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from hogwild.errors import HogwildError, OptionError, TraceError
from hogwild.team.events import EVENT, Event, Started

FORMAT = 1
"""The ``format`` of `Started` that this version writes and reads."""


class TraceWriter:
    """Writes events to a file, each at once.

    with TraceWriter("run.jsonl") as trace:
        for event in team.run():
            trace.write(event)

    The file is opened, and an older one emptied, when the writer is made: a path that cannot be written is known
    before the run begins.

    Raises:
        OptionError: the file cannot be created.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = self.path.open("wb")
        except OSError as error:
            fix = "make its folder first" if isinstance(error, FileNotFoundError) else "choose another file"
            raise OptionError(f"trace={str(self.path)!r} cannot be written ({error.strerror}): {fix}") from None

    def write(self, event: Event) -> None:
        """Append ``event``. Raises `HogwildError` when the disk does not take it."""
        # A text from outside may hold half a character (a lone surrogate): that is no reason to lose a run.
        line = json.dumps(event.model_dump(mode="json", by_alias=True), ensure_ascii=False).encode("utf-8", "replace")
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as error:
            raise HogwildError(f"the trace {str(self.path)!r} cannot be written any more: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with suppress(OSError):  # of a line that the disk did not take, which write() has told
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_trace(path: str | Path) -> list[Event]:
    """All events of a trace. A last line that was cut off while it was written is left out.

    Raises:
        TraceError: there is no such file, a line is no event, or a newer version has written it; file, line and
            reason are named.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise TraceError(f"trace {str(path)!r} cannot be read: {error.strerror}") from None
    cut = lines.pop()  # empty when the file ends with a whole line
    events = [_read(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if cut.strip():
        try:
            events.append(_read(cut, f"{path}, line {len(lines) + 1}"))
        except TraceError:
            if not _is_cut(cut):
                raise
    return events


def _read(line: bytes, where: str) -> Event:
    try:
        event = EVENT.validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, problem["loc"]))
        reason = f"{field}: {problem['msg']}" if field else problem["msg"]
        raise TraceError(f"{where} is not an event of a hogwild trace: {reason}") from None
    if isinstance(event, Started) and event.format != FORMAT:
        raise TraceError(f"{where} is of format {event.format}, and this version reads {FORMAT}: upgrade hogwild")
    return event


def _is_cut(line: bytes) -> bool:
    """Whether ``line`` is the beginning of an object: no proper beginning of one is JSON itself."""
    try:
        json.loads(line)
    except ValueError:
        return line.startswith(b"{")
    return False
