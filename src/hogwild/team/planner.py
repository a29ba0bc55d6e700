"""assign="plan": before the team starts, the model alone lists the parts of the task."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from hogwild.errors import CacheFull, WindowError
from hogwild.sampling import Sampling
from hogwild.team.chooser import write_alone
from hogwild.team.parts import parse_plan
from hogwild.team.setup import Setup

PLAN_TOKENS = 256
"""The most tokens that a plan may take."""

PARTS_PER_WORKER = 4
"""The most parts a worker that a plan may ask for."""

PLANNER = -2
"""The planner's number where workers have theirs: it draws random numbers of its own."""


def plan_parts(setup: Setup, sampling: Sampling, stopped: Callable[[], bool]) -> tuple[list[str], int]:
    """Ask the model for the parts; returns them (perhaps none) and the passes that it took.

    A plan takes at most half the budget, and ends early when there is no more room or ``stopped`` says so.
    """
    engine, codec, settings = setup.engine, setup.codec, setup.settings
    limit = PARTS_PER_WORKER * len(setup.names)
    block, written = engine.block(), list[int]()
    try:
        question = codec.skip_thoughts(codec.chat(setup.text("plan", limit=limit)))
        logits = engine.prefill([block], codec.encode(question))
        tokens = write_alone(engine, [block], logits, sampling, settings.seed, PLANNER)
        for token in islice(tokens, min(PLAN_TOKENS, settings.budget // 2)):
            if token in codec.end_ids or stopped():
                break
            written.append(token)
    except (CacheFull, WindowError):
        if not written:
            raise
    finally:
        block.free()
    return parse_plan(codec.decode(written), limit), len(written)
