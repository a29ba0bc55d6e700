"""What happens before a view outgrows the model's positions: the oldest steps leave it, and that is said."""

from __future__ import annotations

from hogwild.engine import Block
from hogwild.team.layout import Layout
from hogwild.team.workspace import FinishedStep, Workspace

KEPT = 0.75
"""After a drop, the history holds at most this share of what it held, so that not every pass drops something."""


def longest_view(space: Workspace, layout: Layout) -> int:
    """Tokens of the longest view after everybody has fed what is pending."""
    pending = {id(member.block): len(member.pending) for member in space.members}
    views = [layout.view(space, member) for member in space.members]
    return max((sum(len(block) + pending.get(id(block), 0) for block in view) for view in views), default=0)


def drop_steps(space: Workspace, note: list[int]) -> int:
    """Drop the oldest steps, put ``note`` at the start of the history instead, and return how many went.

    ``note`` says in words, as tokens, that steps were dropped. Returns 0 when no step is finished. May raise
    `CacheFull`, as the shorter blocks are made before the longer ones are freed; then nothing has changed.
    """
    total = sum(step.end - step.begin for step in space.steps)
    gone, dropped = list[FinishedStep](), 0
    for step in space.steps:
        if dropped >= total * (1 - KEPT) and gone:
            break
        gone.append(step)
        dropped += step.end - step.begin
    if not gone:
        return 0
    shorter = {id(block): _without(space, block, gone, note) for block in _touched(space, gone)}
    _replace(space, gone, shorter)
    return len(gone)


def _touched(space: Workspace, gone: list[FinishedStep]) -> list[Block]:
    """The history, which gets the note, and the other blocks that hold a step that goes."""
    blocks = {id(space.history): space.history} | {id(step.block): step.block for step in gone}
    return list(blocks.values())


def _without(space: Workspace, block: Block, gone: list[FinishedStep], note: list[int]) -> tuple[Block, int]:
    """A copy of a block without its first steps, and by how many tokens the rest has moved."""
    end = max((step.end for step in gone if step.block is block), default=0)
    fresh = space.engine.block()
    if block is space.history:
        space.engine.prefill([space.prompt, fresh], note)
        end = max(end, space.note_length)
    fresh.extend(block, end)
    return fresh, len(fresh) - len(block)


def _replace(space: Workspace, gone: list[FinishedStep], shorter: dict[int, tuple[Block, int]]) -> None:
    del space.steps[: len(gone)]
    for step in space.steps:
        if id(step.block) in shorter:
            step.block, by = shorter[id(step.block)]
            step.shift(by)
    history, _ = shorter[id(space.history)]
    space.note_length = len(history) - sum(step.end - step.begin for step in space.steps if step.block is history)
    space.history.free()
    space.history = history
    for member in space.members:
        if id(member.block) in shorter:
            old, member.block = member.block, shorter[id(member.block)][0]
            old.free()
