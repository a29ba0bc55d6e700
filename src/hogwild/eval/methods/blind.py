"""The ablation without instant visibility: everybody works as in a team, and sees nobody."""

from __future__ import annotations

from hogwild.engine import Block
from hogwild.team.layout import Contiguous, private
from hogwild.team.worker import Member
from hogwild.team.workspace import Workspace


class Blind(Contiguous):
    """The prompt, what one alone knows, and one's own text; the finisher reads everybody's, as in ``contiguous``.

    What a worker that has left wrote stands in the history, which nobody at work sees either.
    """

    name = "blind"

    def view(self, space: Workspace, member: Member) -> list[Block]:
        """See `Layout`."""
        return [space.prompt, *private(member), member.block]
