"""assign="plan": before the team starts, the model alone lists the parts of the task."""

from __future__ import annotations

import torch

from hogwild.engine import Engine, Row
from hogwild.sampling import Sampling, sample, uniform
from hogwild.team.parts import parse_plan
from hogwild.team.text import Codec

PLAN_TOKENS = 256
"""The most tokens that a plan may take."""

PARTS_PER_WORKER = 4
"""The most parts a worker that a plan may ask for."""


def plan_parts(
    engine: Engine, codec: Codec, question: str, limit: int, sampling: Sampling, seed: int
) -> tuple[list[str], int]:
    """Ask the model for the parts; returns them (perhaps none) and the passes that it took."""
    block = engine.block()
    try:
        logits = engine.prefill([block], codec.encode(codec.chat(question)))
        written = list[int]()
        while len(written) < PLAN_TOKENS:
            seen = torch.tensor(block.tokens, device=logits.device)
            token = sample(logits, sampling, uniform(seed, -2, len(written)), seen)
            if token in codec.end_ids:
                break
            written.append(token)
            logits = engine.forward([Row([block], [token])])[0]
        return parse_plan(codec.decode(written), limit), len(written)
    finally:
        block.free()
