"""What each worker sees at this moment, piece by piece, for pages that draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hogwild.engine import Block
from hogwild.team.layout import Layout
from hogwild.team.workspace import Workspace

Kind = Literal["prompt", "history", "others", "step", "header", "private", "gap", "mark"]


@dataclass(frozen=True)
class Piece:
    """A run of tokens in a view.

    ``kind``: ``prompt``; ``history``, a finished step, by its ``worker`` or a person, or a note by nobody; ``others``,
    what announces unfinished steps; ``step``, an unfinished one; ``header``, what announces the worker's own;
    ``private``, what it alone knows; ``gap``, what stands before its words; ``mark``, what closes a step that breaks
    off. ``tokens`` are those in the cache.
    """

    kind: Kind
    worker: str | None
    tokens: int


def views(space: Workspace, layout: Layout) -> dict[str, list[Piece]]:
    """The view of each worker by its name, in order; pieces without tokens are left out."""
    known = _known(space)
    return {
        member.name: [
            piece for block in layout.view(space, member) for piece in _pieces(space, block, known) if piece.tokens > 0
        ]
        for member in list(space.members)
    }


def _known(space: Workspace) -> dict[int, tuple[Kind, str | None]]:
    """What the blocks of a workspace are, by identity."""
    known: dict[int, tuple[Kind, str | None]] = {
        id(space.prompt): ("prompt", None),
        id(space.history): ("history", None),
        id(space.others): ("others", None),
        id(space.mark): ("mark", None),
    }
    for member in list(space.members):
        known[id(member.block)] = ("step", member.name)
        own: tuple[tuple[Block | None, Kind], ...] = (
            (member.private, "private"),
            (member.header, "header"),
            (member.gap, "gap"),
        )
        known |= {id(block): (kind, member.name) for block, kind in own if block is not None}
    return known


def _pieces(space: Workspace, block: Block, known: dict[int, tuple[Kind, str | None]]) -> list[Piece]:
    """A block cut into the finished steps in it and what stands between and behind them."""
    kind, worker = known.get(id(block), ("header", None))  # of a layout of the user's own
    pieces, at = list[Piece](), 0
    for step in sorted((step for step in list(space.steps) if step.block is block), key=lambda step: step.begin):
        pieces += [Piece(kind, worker, step.begin - at), Piece("history", step.worker, step.end - step.begin)]
        at = step.end
    return [*pieces, Piece(kind, worker, len(block) - at)]
