"""How a worker's next token is chosen: its own sampling, its own random numbers, what it must not write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hogwild.engine import Block, Engine, Row
from hogwild.sampling import Sampling, sample, uniform
from hogwild.team.drafts import WRITER, Drafter, forward
from hogwild.team.setup import Setup
from hogwild.team.worker import Member


class Chooser:
    """Samples tokens for the members of one team.

    Workers of a team must not write headers, special tokens and the like. Those with parts of their own may end their
    turn, which is how they say that they are done. One worker alone may write anything.
    """

    def __init__(self, setup: Setup, sampling: Sampling) -> None:
        self._setup = setup
        self._default = sampling
        codec, device = setup.codec, setup.engine.device
        may_end = [token for token in codec.forbidden_ids if token not in codec.end_ids]
        self._forbidden = {
            (ending, after_hash): torch.tensor(ids + codec.hash_ids * after_hash, dtype=torch.int64, device=device)
            for ending, ids in ((False, codec.forbidden_ids), (True, may_end))
            for after_hash in (False, True)
        }

    def sampling(self, member: Member) -> Sampling:
        """The member's own sampling, or the team's."""
        return member.worker.sampling or self._default

    def choose(self, member: Member, logits: Tensor, seen: Tensor | None) -> int:
        """The next token from ``logits`` [vocab]. Depends on nothing but them, the seed, the worker and what it saw."""
        u = uniform(self._setup.settings.seed, member.index, member.written)
        return sample(logits, self.sampling(member), u, seen, self._suppressed(member))

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
        return self._forbidden[bool(self._setup.parts), only_hashes]


def seen_tokens(view: Sequence[Block], drafts: Mapping[int, int]) -> Tensor:
    """The tokens of a view, int64 [N], but for the last ``drafts`` of some blocks (by identity)."""
    tokens = [block.token_array[: len(block) - drafts.get(id(block), 0)] for block in view]
    return torch.from_numpy(np.concatenate(tokens)).to(view[0].pool.device)


def write_alone(
    engine: Engine,
    view: Sequence[Block],
    logits: Tensor,
    sampling: Sampling,
    seed: int,
    number: int,
    drafter: Drafter | None = None,
) -> Iterator[int]:
    """Tokens that one reader of ``view`` writes into its last block, without end: planner and finisher.

    ``logits`` [vocab] are those after the view; ``number`` stands for the writer in its random numbers. A token is fed
    when the next one is asked for. ``drafter`` knows the writer as ``WRITER`` and has read what it is to draft from.
    """
    index, guess, given = 0, list[int](), logits[None]
    while True:
        seen = None if sampling.repetition_penalty == 1 else seen_tokens(view, {})
        for place, one in enumerate(given):
            hidden = len(guess) - place  # drafts behind this place
            before = None if seen is None else seen[: len(seen) - hidden]
            token = sample(one, sampling, uniform(seed, number, index), before)
            yield token
            index += 1
            if not hidden or token != guess[place]:
                break
        view[-1].truncate(len(view[-1]) - hidden)
        if drafter is not None:
            drafter.learn(WRITER, len(guess), len(guess) - hidden)
            drafter.read(WRITER, [*guess[: len(guess) - hidden], token])
            room = engine.max_positions - sum(map(len, view)) - 1
            guess = drafter.guess(WRITER, room)
        rows, given = forward(engine, [Row(view, [token, *guess], len(guess))])
        guess = guess[: rows[0].drafts]
