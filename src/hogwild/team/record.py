"""What a run has drawn and what was asked of it: enough to do it again exactly, whatever rounds otherwise."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Record:
    """The tokens of all who write in a team, in the order of each.

    Attributes: ``time``, which each token that is drawn and each look at what was asked takes forward by one; ``end``,
    how far it has ever come. While it is below ``end`` a run is done again.
    """

    def __init__(self) -> None:
        self._tokens: dict[Hashable, list[int]] = {}
        self.time = self.end = 0

    def tick(self) -> int:
        """Time goes on; what was asked at an earlier one, which is less than what this returns, may happen."""
        self.time += 1
        self.end = max(self.time, self.end)
        return self.time

    def draw(self, writer: Hashable, index: int, sample: Callable[[], int]) -> int:
        """Token ``index`` of a writer: the one that is known, or the one that ``sample`` chooses now."""
        tokens = self._tokens.setdefault(writer, [])
        if index == len(tokens):
            tokens.append(sample())
        self.tick()
        return tokens[index]

    def again(self) -> Record:
        """The same at its beginning."""
        twin = Record()
        twin._tokens, twin.end = {writer: list(tokens) for writer, tokens in self._tokens.items()}, self.end
        return twin
