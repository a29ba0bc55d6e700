"""assign="plan": before the team starts, the model alone lists the parts of the task."""

from __future__ import annotations

from collections.abc import Callable

from hogwild.engine import Row
from hogwild.errors import CacheFull, WindowError
from hogwild.sampling import Sampling
from hogwild.team.ask import Play, ask
from hogwild.team.chooser import Soloist
from hogwild.team.events import Planned
from hogwild.team.parts import Part, cut, parse_plan
from hogwild.team.progress import Progress
from hogwild.team.setup import Setup

PLAN_TOKENS = 256
"""The most tokens that a plan may take."""

PARTS_PER_WORKER = 4
"""The most parts a worker that a plan may ask for."""

PLANNER = -2
"""The planner's number where workers have theirs: it draws random numbers of its own."""


def plan_parts(setup: Setup, sampling: Sampling, stopped: Callable[[], bool]) -> Play[tuple[list[str], int]]:
    """Ask the model for the parts; returns them (perhaps none) and the passes that it took.

    A plan takes at most half the budget, and ends early when there is no more room or ``stopped`` says so.
    """
    codec, settings = setup.codec, setup.settings
    limit = PARTS_PER_WORKER * len(setup.names)
    block, written = setup.engine.block(), list[int]()
    try:
        question = codec.skip_thoughts(codec.chat(setup.text("plan", limit=limit)))
        logits = yield from ask([Row([block], codec.encode(question))])
        writer = Soloist([block], logits[0], sampling, setup, PLANNER, PLANNER)
        while len(written) < min(PLAN_TOKENS, settings.budget // 2):
            token = yield from writer.write()
            if token in codec.end_ids or stopped():
                break
            written.append(token)
    except (CacheFull, WindowError):
        if not written:
            raise
    finally:
        block.free()
    return parse_plan(codec.decode(written), limit), len(written)


def plan(setup: Setup, sampling: Sampling, progress: Progress, stopped: Callable[[], bool]) -> Play[None]:
    """A short first pass by one reader deals the parts out. A task that cannot be split is left to the workers."""
    parts, passes = yield from plan_parts(setup, sampling, stopped)
    progress.passes += passes
    if len(parts) >= 2:
        setup.shown_task = ""  # a small model that sees the whole task does the whole task
        numbered = [Part(number, text) for number, text in enumerate(parts, 1)]
        setup.share_out(cut(numbered, len(setup.names)))
    else:
        yield Planned(**progress.now(), parts={})
