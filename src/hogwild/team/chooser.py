"""How a worker's next token is chosen: its own sampling, its own random numbers, what it must not write."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hogwild.engine import Block, Row
from hogwild.sampling import Sampling, logprob, sample, uniform
from hogwild.team.ask import Play
from hogwild.team.drafts import WRITER, Drafter, ask_drafted
from hogwild.team.events import TopToken
from hogwild.team.grammar import Grammar
from hogwild.team.setup import Setup
from hogwild.team.worker import Member


class Chooser:
    """Samples tokens for the members of one team.

    Workers of a team must not write headers, special tokens and the like. Those with parts of their own may end their
    turn, which is how they say that they are done, and others where the settings say so. One worker alone may write
    anything.
    """

    def __init__(self, setup: Setup, sampling: Sampling) -> None:
        self._setup = setup
        self._default = sampling
        codec = setup.codec
        for_calls = setup.tools.ids if setup.tools is not None else set[int]()
        never = [token for token in codec.forbidden_ids if token not in for_calls]
        may_end = [token for token in never if token not in codec.end_ids]
        self._forbidden = {
            (ending, after_hash): torch.tensor(ids + codec.hash_ids * after_hash, dtype=torch.int64)
            for ending, ids in ((False, never), (True, may_end))
            for after_hash in (False, True)
        }

    def sampling(self, member: Member) -> Sampling:
        """The member's own sampling, or the team's."""
        return member.worker.sampling or self._default

    def choose(self, member: Member, logits: Tensor, seen: Tensor | None) -> int:
        """The next token from ``logits`` [vocab]. Depends on nothing but them, the seed, the worker and what it saw."""
        sampling, grammar = self.sampling(member), member.grammar
        u = uniform(self._setup.settings.seed, member.index, member.written)
        written = _counted(member.tokens, sampling, logits)
        draw = partial(sample, logits, sampling, u, seen, self._suppressed(member), written, _allowed(grammar, logits))
        return self._setup.record.draw(member.index, member.written, draw)

    def report(self, logits: Tensor, token: int) -> dict[str, Any]:
        """What the event of a token says of its probability, if the team was asked to: see `WrittenToken`."""
        most, codec = self._setup.settings.logprobs, self._setup.codec
        if most is None:
            return {}
        value, top = logprob(logits, token, most)
        return {"logprob": value, "top": [TopToken(token=i, text=codec.decode([i]), logprob=one) for i, one in top]}

    def seen(self, member: Member, row: Row, rows: Sequence[Row]) -> Tensor | None:
        """What the member sees in a pass, its own drafts last, if its sampling asks for it: int64 [N]."""
        if self.sampling(member).repetition_penalty == 1:
            return None
        return seen_tokens(row.view, {id(other.own): other.drafts for other in rows if other is not row})

    def stopped(self, member: Member) -> bool:
        """Whether the member has written one of its stop strings."""
        return any(stop in member.body for stop in self.sampling(member).stop)

    def _suppressed(self, member: Member) -> Tensor | None:
        if self._setup.solo:
            return None
        line = member.text.rsplit("\n", 1)[-1].strip()
        only_hashes = line != "" and line.strip("#") == ""  # one more could complete a header
        return self._forbidden[bool(self._setup.parts) or self._setup.settings.may_end, only_hashes]


def seen_tokens(view: Sequence[Block], drafts: Mapping[int, int]) -> Tensor:
    """The tokens of a view, int64 [N], but for the last ``drafts`` of some blocks (by identity)."""
    tokens = [block.token_array[: len(block) - drafts.get(id(block), 0)] for block in view]
    return torch.from_numpy(np.concatenate(tokens))


def _counted(written: Sequence[int], sampling: Sampling, logits: Tensor) -> Tensor | None:
    """What a writer has written, int64 [N], where its sampling counts it."""
    return torch.tensor(written, dtype=torch.int64, device=logits.device) if sampling.counts else None


def _allowed(grammar: Grammar | None, logits: Tensor) -> Tensor | None:
    """What a grammar allows, bool [vocab], where the logits are."""
    return None if grammar is None else grammar.allowed().to(logits.device)


class Soloist:
    """One who writes alone into the last block of ``view``: the planner, the finisher.

    ``logits`` [vocab] are those after the view; ``number`` stands for the writer in its random numbers, ``writer`` in
    the record. ``drafter`` knows the writer as ``WRITER`` and has read what it is to draft from. ``grammar`` is told
    what is written by who gives it.
    """

    def __init__(
        self,
        view: Sequence[Block],
        logits: Tensor,
        sampling: Sampling,
        setup: Setup,
        number: int,
        writer: Hashable,
        drafter: Drafter | None = None,
        grammar: Grammar | None = None,
    ) -> None:
        self._view = view
        self._given = logits[None]
        self._sampling = sampling
        self._setup = setup
        self._number = number
        self._writer = writer
        self._drafter = drafter
        self._grammar = grammar
        self._guess = list[int]()
        self._written = list[int]()
        self._place = 0  # of the next logits

    @property
    def logits(self) -> Tensor:
        """Those that the last token was drawn from, [vocab]."""
        return self._given[self._place]

    def write(self) -> Play[int]:
        """The next token. The one before is fed first, where no draft has done it."""
        if self._written:
            yield from self._go_on(self._written[-1])
        hidden = len(self._guess) - self._place  # drafts behind this place
        seen = None
        if self._sampling.repetition_penalty != 1:
            seen = seen_tokens(self._view, {id(self._view[-1]): hidden})
        index, logits = len(self._written), self._given[self._place]
        u = uniform(self._setup.settings.seed, self._number, index)
        written, allowed = _counted(self._written, self._sampling, logits), _allowed(self._grammar, logits)
        draw = partial(sample, logits, self._sampling, u, seen, written=written, allowed=allowed)
        self._written.append(self._setup.record.draw(self._writer, index, draw))
        return self._written[-1]

    def _go_on(self, token: int) -> Play[None]:
        """Logits after ``token``: those that a right draft has brought, or those of another pass."""
        if self._place < len(self._guess) and token == self._guess[self._place]:
            self._place += 1
            return
        own, right = self._view[-1], self._place
        own.truncate(len(own) - len(self._guess) + right)
        guess = list[int]()
        if self._drafter is not None:
            self._drafter.learn(WRITER, len(self._guess), right)
            self._drafter.read(WRITER, [*self._guess[:right], token])
            guess = self._drafter.guess(WRITER, own.pool.max_positions - sum(map(len, self._view)) - 1)
        rows, self._given = yield from ask_drafted([Row(self._view, [token, *guess], len(guess))])
        self._guess, self._place = guess[: rows[0].drafts], 0
