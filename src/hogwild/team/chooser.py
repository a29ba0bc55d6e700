"""How a worker's next token is chosen: its own sampling, its own random numbers, what it must not write."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild.engine import Block
from hogwild.sampling import Sampling, sample, uniform
from hogwild.team.text import Codec
from hogwild.team.worker import Member


class Chooser:
    """Samples tokens for the members of one team.

    ``restricted``: workers must not write headers, special tokens and the like. ``may_end``: they may end their turn,
    which is how a worker with parts of its own says that it is done.
    """

    def __init__(self, codec: Codec, sampling: Sampling, seed: int, *, restricted: bool, may_end: bool) -> None:
        self._default = sampling
        self._seed = seed
        self._restricted = restricted
        ends = set(codec.end_ids) if may_end else set[int]()
        forbidden = [token for token in codec.forbidden_ids if token not in ends]
        self._forbidden = torch.tensor(forbidden, dtype=torch.int64)
        self._forbidden_after_hash = torch.tensor(forbidden + codec.hash_ids, dtype=torch.int64)

    def sampling(self, member: Member) -> Sampling:
        """The member's own sampling, or the team's."""
        return member.worker.sampling or self._default

    def choose(self, member: Member, view: Sequence[Block], logits: Tensor) -> int:
        """The next token from ``logits`` [vocab]. Depends on nothing but them, the seed, the worker and its view."""
        sampling = self.sampling(member)
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.tensor([token for block in view for token in block.tokens], device=logits.device)
        u = uniform(self._seed, member.index, member.written)
        return sample(logits, sampling, u, seen, self._suppressed(member))

    def stopped(self, member: Member) -> bool:
        """Whether the member has written one of its stop strings."""
        return any(stop in member.body for stop in self.sampling(member).stop)

    def _suppressed(self, member: Member) -> Tensor | None:
        if not self._restricted:
            return None
        line = member.text.rsplit("\n", 1)[-1].strip()
        only_hashes = line != "" and line.strip("#") == ""  # one more could complete a header
        return self._forbidden_after_hash if only_hashes else self._forbidden
