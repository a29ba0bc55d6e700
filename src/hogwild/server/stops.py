"""The answer's text up to the first stop text. What may be the beginning of one is held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StopText:
    """Passes pieces of text on, up to the first of ``stop``, which is no part of the answer.

    A piece may carry anything that belongs to it (a token's log probability): it comes out together with the first
    character of its text, or with what came before if it has none. ``found`` tells that a stop text has come.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self._carried: list[tuple[int, Any]] = []  # where in the held text its piece begins, and what it carries
        self.found = False

    def push(self, piece: str, carry: Any = None) -> tuple[str, list[Any]]:
        """What can be given out after one more piece: text, and what its pieces carry."""
        if self.found:
            return "", []
        if carry is not None:
            self._carried.append((len(self._held), carry))
        self._held += piece
        cut = min((place for stop in self._stop if (place := self._held.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.found = True
            return self._release(cut, cut)
        end = len(self._held) - self._begun()
        return self._release(end, end + (end == len(self._held)))

    def rest(self) -> tuple[str, list[Any]]:
        """What was held back, when no more comes."""
        return ("", []) if self.found else self._release(len(self._held), len(self._held) + 1)

    def _begun(self) -> int:
        """Characters at the end that may begin a stop text."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _release(self, end: int, before: int) -> tuple[str, list[Any]]:
        """The held text up to ``end``, and what the pieces carry that begin ahead of ``before``."""
        text, self._held = self._held[:end], self._held[end:]
        carried = [carry for place, carry in self._carried if place < before]
        self._carried = [(place - end, carry) for place, carry in self._carried if place >= before]
        return text, carried
