"""What a team has asked for, as far as it is done: long rows that nobody else waits for are fed piece by piece."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hogwild.engine import Row
from hogwild.engine.passes import entangled
from hogwild.team.ask import Ask

SHORT = 64
"""Rows of so many tokens are no prompt: an ask that has no longer ones is done in one pass, the next one."""


class Pending:
    """An ask, and how much of each of its rows is in the cache.

    Rows that read what others of the ask write go into one pass together, whatever their length; causality lets all
    others be cut anywhere.
    """

    def __init__(self, asked: Ask) -> None:
        self.asked = asked
        self.short = all(len(row.tokens) <= SHORT for row in asked.rows)
        self._lengths = [len(row.own) for row in asked.rows]
        self._fed = [0] * len(asked.rows)
        self._logits: list[Tensor | None] = [None] * len(asked.rows)
        self._taken = list[tuple[int, Row]]()
        if self.short:
            self._whole = [True] * len(asked.rows)
        else:
            tangled = entangled(asked.rows)
            self._whole = [bound or row.drafts > 0 for bound, row in zip(tangled, asked.rows, strict=True)]

    @property
    def done(self) -> bool:
        """Whether all is in the cache."""
        return all(fed == len(row.tokens) for fed, row in zip(self._fed, self.asked.rows, strict=True))

    @property
    def answer(self) -> Tensor | None:
        """What the team gets for it: logits in the order of its rows, if it wants some."""
        if not self.asked.logits:
            return None
        logits = [one for one in self._logits if one is not None]
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    def take(self, room: int) -> list[Row]:
        """Rows for the next pass: about ``room`` tokens, more where rows must go together, and at least one."""
        self._taken = []
        for index, (row, fed) in enumerate(zip(self.asked.rows, self._fed, strict=True)):
            if self._whole[index] and not fed:
                self._taken.append((index, row))
                room -= len(row.tokens)
        for index, (row, fed) in enumerate(zip(self.asked.rows, self._fed, strict=True)):
            left = len(row.tokens) - fed
            if not self._whole[index] and left and (room > 0 or not self._taken):
                count = min(left, max(room, 1))
                self._taken.append((index, replace(row, tokens=row.tokens[fed : fed + count])))
                room -= count
        return [row for _, row in self._taken]

    def give(self, logits: Tensor) -> None:
        """The rows that were taken are in the cache; ``logits`` [rows and drafts, vocab] are theirs."""
        sizes = [1 + row.drafts for _, row in self._taken]
        if self.short:
            self._logits[0] = logits  # all at once: nothing to be put together
        else:
            for (index, _), part in zip(self._taken, logits.split(sizes), strict=True):
                self._logits[index] = part
        for index, row in self._taken:
            self._fed[index] += len(row.tokens)

    def undo(self) -> None:
        """Take out of the cache what was fed, as nothing may have changed for a team whose ask fails."""
        for row, length in zip(self.asked.rows, self._lengths, strict=True):
            row.own.truncate(length)
