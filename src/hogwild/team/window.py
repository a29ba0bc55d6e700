"""What happens before a view outgrows the model's positions: the oldest steps leave it, and that is said."""

from __future__ import annotations

from hogwild.engine import Block, Row
from hogwild.team.ask import Play, feed
from hogwild.team.layout import Layout, shown
from hogwild.team.workspace import FinishedStep, Workspace

KEPT = 0.75
"""After a drop, at most this share of the finished tokens is left, so that not every pass drops something."""


def longest_view(space: Workspace, layout: Layout) -> int:
    """Tokens of the longest view after everybody has fed what is pending. The finisher reads everything that is new."""
    pending = {id(member.block): len(member.pending) for member in space.members}
    views = [layout.view(space, member) for member in space.members]
    views.append([*layout.finished(space), *(block for member in space.members for block in shown(member))])
    return max(sum(len(block) + pending.get(id(block), 0) for block in view) for view in views)


def drop_steps(space: Workspace, note: list[int]) -> Play[int]:
    """Drop the oldest steps, put ``note`` at the start of the history instead, and return how many went.

    ``note`` says in words, as tokens, that steps were dropped. Returns 0 when no step is finished. May raise
    `CacheFull`, as the shorter blocks are made before the longer ones are freed; then nothing has changed.
    """
    gone = _oldest(space.steps)
    if not gone:
        return 0
    touched = {id(block): block for block in (space.history, *(step.block for step in gone))}
    cuts = {key: _cuts(space, block, gone) for key, block in touched.items()}
    shorter = dict[int, Block]()
    for key, block in touched.items():
        shorter[key] = yield from _without(space, block, cuts[key], note)
    for step in space.steps[len(gone) :]:
        if (key := id(step.block)) in shorter:
            step.shift(len(note) * (step.block is space.history) - _cut_before(step.begin, cuts[key]))
            step.block = shorter[key]
    space.gone += gone
    del space.steps[: len(gone)]
    space.note_length = len(note)
    space.history = shorter[id(space.history)]
    for member in space.members:
        member.block = shorter.get(id(member.block), member.block)
    for block in touched.values():
        block.free()
    return len(gone)


def _oldest(steps: list[FinishedStep]) -> list[FinishedStep]:
    """So many of the oldest steps that `KEPT` of all tokens is left, but one at least."""
    too_many = sum(step.end - step.begin for step in steps) * (1 - KEPT)
    count, dropped = 0, 0
    while count < len(steps) and (count == 0 or dropped < too_many):
        dropped += steps[count].end - steps[count].begin
        count += 1
    return steps[:count]


def _cuts(space: Workspace, block: Block, gone: list[FinishedStep]) -> list[tuple[int, int]]:
    """The runs of tokens that leave a block: steps that go and, in the history, the note of the last time."""
    cuts = [(step.begin, step.end) for step in gone if step.block is block]
    return sorted([(0, space.note_length), *cuts] if block is space.history else cuts)


def _cut_before(offset: int, cuts: list[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in cuts if end <= offset)


def _without(space: Workspace, block: Block, cuts: list[tuple[int, int]], note: list[int]) -> Play[Block]:
    """A copy of a block without the cuts; that of the history begins with the note."""
    fresh, at = space.engine.block(), 0
    if block is space.history and note:
        yield from feed([Row([space.prompt, fresh], note)])
    for begin, end in [*cuts, (len(block), len(block))]:
        fresh.extend(block, at, begin)
        at = end
    return fresh
