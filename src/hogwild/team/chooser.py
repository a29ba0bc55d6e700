"""How a worker's next token is chosen: its own sampling, its own random numbers, what it must not write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hogwild.engine import Block, Engine, Row
from hogwild.sampling import Sampling, sample, uniform
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

    def choose(self, member: Member, view: Sequence[Block], logits: Tensor) -> int:
        """The next token from ``logits`` [vocab]. Depends on nothing but them, the seed, the worker and its view."""
        u = uniform(self._setup.settings.seed, member.index, member.written)
        return draw(logits, self.sampling(member), u, view, self._suppressed(member))

    def stopped(self, member: Member) -> bool:
        """Whether the member has written one of its stop strings."""
        return any(stop in member.body for stop in self.sampling(member).stop)

    def _suppressed(self, member: Member) -> Tensor | None:
        if self._setup.solo:
            return None
        line = member.text.rsplit("\n", 1)[-1].strip()
        only_hashes = line != "" and line.strip("#") == ""  # one more could complete a header
        return self._forbidden[bool(self._setup.parts), only_hashes]


def draw(logits: Tensor, sampling: Sampling, u: float, view: Sequence[Block], suppressed: Tensor | None = None) -> int:
    """Sample from ``logits`` [vocab]; a repetition penalty counts what stands in the view."""
    seen = None
    if sampling.repetition_penalty != 1:
        seen = torch.tensor([token for block in view for token in block.tokens], device=logits.device)
    return sample(logits, sampling, u, seen, suppressed)


def write_alone(
    engine: Engine, view: Sequence[Block], logits: Tensor, sampling: Sampling, seed: int, number: int
) -> Iterator[int]:
    """Tokens that one reader of ``view`` writes into its last block, without end: planner and finisher.

    ``logits`` [vocab] are those after the view; ``number`` stands for the writer in its random numbers. A token is fed
    when the next one is asked for.
    """
    index = 0
    while True:
        token = draw(logits, sampling, uniform(seed, number, index), view)
        yield token
        logits = engine.forward([Row(view, [token])])[0]
        index += 1
