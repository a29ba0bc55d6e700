"""Guesses of what a worker writes next, from what was written before: by itself, by others, or in the prompt.

The model reads the guesses in the same pass as the token before them, and what the worker then samples after each of
them says how far they were right. So a guess costs a little and may save passes; it never changes what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from hogwild.engine import Row
from hogwild.errors import CacheFull
from hogwild.team.ask import Play, ask

LONGEST, SHORTEST = 4, 2
"""The last so many tokens are looked for, the longer run first: where they stood last, what came next comes again."""

FIRST = 2
"""Tokens of a writer's first guess; after each, its length follows how much of it was right."""


WRITER = "\n"
"""The name of one who writes alone; no worker can have it."""


class Drafter:
    """Looks up drafts in the texts that it was given to read.

    A text is known by its writer's name, the prompt by an empty one. Takes three dictionary entries a token.
    Attributes: ``most``, the longest draft (0 reads and drafts nothing); ``guessed`` and ``right``, tokens so far.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.guessed = self.right = 0
        self._texts: dict[str, list[int]] = {}
        self._lengths: dict[str, int] = {}
        # For each run of 2 to 4 tokens: the text and the place right behind it, where it stood last and went on.
        self._after: dict[tuple[int, ...], tuple[list[int], int]] = {}

    def read(self, name: str, tokens: Sequence[int]) -> None:
        """The text of ``name`` goes on with ``tokens``."""
        if not self.most:
            return
        text = self._texts.setdefault(name, [])
        for token in tokens:
            here = len(text)
            for count in range(SHORTEST, min(LONGEST, here) + 1):
                self._after[tuple(text[-count:])] = (text, here)
            text.append(token)

    def guess(self, name: str, most: int | None = None) -> list[int]:
        """What the text of ``name`` may go on with; at most ``most`` tokens, often none."""
        limit = min(self._lengths.get(name, FIRST), self.most, self.most if most is None else most)
        if limit <= 0:
            return []
        text = self._texts.get(name, [])
        for count in range(min(LONGEST, len(text)), SHORTEST - 1, -1):
            found = self._after.get(tuple(text[-count:]))
            if found is not None:
                where, place = found
                guessed = where[place : place + limit]
                while where is text and len(guessed) < limit:  # it repeats itself: once more
                    guessed.append(guessed[place - len(text)])
                return guessed
        return []

    def learn(self, name: str, guessed: int, right: int) -> None:
        """Of the last draft of ``name``, ``guessed`` tokens long, the first ``right`` were what it wrote."""
        if not guessed:
            return
        self.guessed += guessed
        self.right += right
        # A guess that was right to its end says that a longer one may be; a wrong one, how long it should have been.
        longer = max(self._lengths.get(name, FIRST), min(2 * guessed, self.most))
        self._lengths[name] = longer if right == guessed else right + 1


def ask_drafted(rows: Sequence[Row]) -> Play[tuple[Sequence[Row], Tensor]]:
    """A pass, without drafts where there is no room for them: the rows as they went in, and their logits."""
    try:
        return rows, (yield from ask(rows))
    except CacheFull:
        if not any(row.drafts for row in rows):
            raise
    rows = [replace(row, tokens=row.tokens[: len(row.tokens) - row.drafts], drafts=0) for row in rows]
    return rows, (yield from ask(rows))
