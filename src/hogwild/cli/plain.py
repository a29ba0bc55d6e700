"""The views for anything but a person at a terminal: plain lines, the answer only, or the events as JSON."""

from __future__ import annotations

import json
from typing import TextIO

from hogwild.cli import text, words
from hogwild.team import events as ev


class _Lines:
    """A view that prints whole lines to ``out``, each at once."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def close(self) -> None:
        """Nothing is left to do."""

    def _print(self, line: str) -> None:
        print(line, file=self.out, flush=True)


class PlainView(_Lines):
    """One line for each finished step (its own line breaks indented below), each notice (``-- ``) and the answer."""

    def show(self, event: ev.Event) -> None:
        """Print what the event has to tell, if anything."""
        match event:
            case ev.Started():
                self._print(f"-- {words.heading(event)}")
            case ev.StepFinished():
                self._block(f"{event.worker} [{event.step}]", words.step_body(event.worker, event.step, event.text))
            case ev.Said():
                self._block(f"{event.name} says", event.text)
            case ev.Prefilled() if event.done >= event.total:
                self._print(f"-- the prompt is read: {text.plural(event.total, 'token')}")
            case ev.Finished():
                self._block("answer", event.text.strip() or "(no answer)")
                self._print(f"-- {words.summary(event)}")
            case _:
                for line in words.notices(event):
                    self._print(f"-- {line}")

    def _block(self, label: str, body: str) -> None:
        self._print(f"{text.one_line(label)}: " + text.clean(body).strip("\n").replace("\n", "\n    "))


class QuietView(_Lines):
    """The answer and nothing else."""

    def show(self, event: ev.Event) -> None:
        """Print the answer when it comes."""
        if isinstance(event, ev.Finished):
            self._print(text.clean(event.text).strip("\n"))


class JsonView(_Lines):
    """Every event as one line of JSON, just as a trace holds them."""

    def show(self, event: ev.Event) -> None:
        """Print the event."""
        self._print(text.whole(json.dumps(event.model_dump(mode="json", by_alias=True), ensure_ascii=False)))
