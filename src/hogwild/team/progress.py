"""How far a team is: passes, seconds, tokens, why it stopped. Its parts read and write it while they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hogwild.errors import CacheFull, WindowError


@dataclass
class Progress:
    """State of one run. ``written`` counts the tokens of each worker; ``reason`` says why the team stopped."""

    written: dict[str, int]
    passes: int = 0
    prompt_tokens: int = 0
    reason: str | None = None
    answer: str | None = None
    answer_text: str = ""
    _began: float = field(default_factory=time.perf_counter)
    _decoding: float = field(default_factory=time.perf_counter)
    _aside: float = 0.0
    _begun: bool = False

    def stop(self, reason: str) -> None:
        """No more passes. The first reason counts."""
        self.reason = self.reason or reason

    @contextmanager
    def limits(self) -> Iterator[None]:
        """What is done inside ends the run, and nothing else, when the pool or the window is full."""
        try:
            yield
        except CacheFull:
            self.stop("cache")
        except WindowError:
            self.stop("window")

    def now(self, **fields: Any) -> dict[str, Any]:
        """What every event carries, and ``fields``."""
        return {"pass_": self.passes, "time": time.perf_counter() - self._began, **fields}

    def begin(self) -> None:
        """The run begins, unless it is done again: then its clock goes on."""
        if not self._begun:
            self._began = self._decoding = time.perf_counter()
        self._begun = True

    def go_on(self, other: Progress) -> None:
        """Take over the clock of the same run."""
        self._began, self._begun = other._began, other._begun

    def begin_decoding(self) -> None:
        """The prompt is read."""
        self._decoding = time.perf_counter()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is no part of the time that decoding takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._aside += time.perf_counter() - began

    @property
    def prefill_seconds(self) -> float:
        """From the start to the first pass."""
        return self._decoding - self._began

    @property
    def decode_seconds(self) -> float:
        """From the first pass until now."""
        return time.perf_counter() - self._decoding - self._aside
