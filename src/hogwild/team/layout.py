"""Layouts: which blocks a worker sees, in which order, and what happens when a step ends (paper, section 3.1).

    contiguous    prompt, everything that each other worker has written, everything it has written
    interleaved   prompt, history, its own step: others' steps are seen once they are finished
    combined      prompt, history, the others' unfinished steps, its own: everything is seen at once

A layout of your own is any object with these methods.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from hogwild.engine import Block
from hogwild.errors import OptionError
from hogwild.team.worker import Member
from hogwild.team.workspace import FinishedStep, Workspace


@runtime_checkable
class Layout(Protocol):
    """The rule that makes the views of a team."""

    @property
    def name(self) -> str:
        """How a user asks for it."""

    def view(self, space: Workspace, member: Member) -> list[Block]:
        """The blocks that a worker attends to, in order; the last one is ``member.block``."""

    def finished(self, space: Workspace) -> list[Block]:
        """What a reader of the whole sees before each ``member.block``: the prompt and all text that is in no other."""

    def end_step(self, space: Workspace, member: Member) -> None:
        """``member.block`` ends with a finished step, ``member.text``: keep it, and make room for the next one."""

    def leave(self, space: Workspace, member: Member) -> None:
        """A worker is about to leave ``space.members``: keep its finished steps, and free ``member.block``."""


def private(member: Member) -> list[Block]:
    """What the worker alone knows, if anything."""
    return [] if member.private is None else [member.private]


def shown(member: Member) -> list[Block]:
    """What others see of the worker's own text."""
    return [member.block] if member.gap is None else [member.gap, member.block]


def append(history: Block, blocks: list[Block], end: int | None = None) -> None:
    """Append blocks, the last one up to token ``end``. Raises `CacheFull`, and then nothing has changed."""
    before = len(history)
    try:
        for block in blocks:
            history.extend(block, 0, end if block is blocks[-1] else None)
    except BaseException:
        history.truncate(before)
        raise


class Combined:
    """Everybody sees everything, token by token; finished steps are history in order of completion."""

    name = "combined"

    def view(self, space: Workspace, member: Member) -> list[Block]:
        """See `Layout`."""
        others = space.other_members(member)
        if not others:
            return [space.prompt, space.history, *private(member), member.block]
        header = [] if member.header is None else [member.header]
        unfinished = [block for other in others for block in shown(other)]
        return [space.prompt, space.history, space.others, *unfinished, *header, *private(member), member.block]

    def finished(self, space: Workspace) -> list[Block]:
        """See `Layout`."""
        return [space.prompt, space.history]

    def end_step(self, space: Workspace, member: Member) -> None:
        """Move the step into the history."""
        begin = len(space.history)
        append(space.history, shown(member))
        step = FinishedStep(member.name, member.step, member.text, space.history, begin, len(space.history))
        space.steps.append(step)
        for block in shown(member):
            block.free()
        member.block, member.gap = space.engine.block(), None

    def leave(self, space: Workspace, member: Member) -> None:
        """Its finished steps are history already."""
        member.block.free()


class Interleaved(Combined):
    """A step is private until it is finished; then it is history for everybody."""

    name = "interleaved"

    def view(self, space: Workspace, member: Member) -> list[Block]:
        """See `Layout`."""
        return [space.prompt, space.history, *private(member), member.block]


class Contiguous:
    """Each worker's text stays in one block of its own, which the others see growing. Nothing is ever moved."""

    name = "contiguous"

    def view(self, space: Workspace, member: Member) -> list[Block]:
        """See `Layout`."""
        others = [block for other in space.other_members(member) for block in shown(other)]
        return [space.prompt, space.history, *others, *private(member), member.block]

    def finished(self, space: Workspace) -> list[Block]:
        """See `Layout`."""
        return [space.prompt, space.history]

    def end_step(self, space: Workspace, member: Member) -> None:
        """Note where the step is; it stays there."""
        begin = max((step.end for step in space.steps if step.block is member.block), default=0)
        step = FinishedStep(member.name, member.step, member.text, member.block, begin, len(member.block))
        space.steps.append(step)

    def leave(self, space: Workspace, member: Member) -> None:
        """Move its finished steps into the history."""
        own = [step for step in space.steps if step.block is member.block]
        end = max((step.end for step in own), default=0)
        if own:
            append(space.history, shown(member), end)
        for step in own:
            step.block = space.history
            step.shift(len(space.history) - end)
        member.block.free()


LAYOUTS: dict[str, type[Layout]] = {layout.name: layout for layout in (Contiguous, Interleaved, Combined)}
"""The packaged layouts, by name."""


def make_layout(layout: str | Layout) -> Layout:
    """A layout from its name, or the user's own as it is. Raises `OptionError` for what is neither."""
    if isinstance(layout, str) and layout in LAYOUTS:
        return LAYOUTS[layout]()
    if isinstance(layout, (str, type)) or not isinstance(layout, Layout):
        raise OptionError(f"layout is {layout!r}: give one of {', '.join(LAYOUTS)}, or an object that is a Layout")
    return layout
