"""The blocks that a team shares, and who is at work on them. It is what a layout reads and changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from hogwild.engine import Block, Engine
from hogwild.team.worker import Member


@dataclass
class FinishedStep:
    """A step that stands in the history: where its tokens are, and its text. Its number is 0 if no worker wrote it.

    ``told`` is where the words behind the last result of a tool begin in the text, if there is one.
    """

    worker: str
    number: int
    text: str
    block: Block
    begin: int
    end: int
    told: int = 0

    def shift(self, by: int) -> None:
        """Its tokens have moved."""
        self.begin += by
        self.end += by


@dataclass
class Workspace:
    """Blocks of a team. ``prompt`` and the headers never change once they are written; ``history`` grows.

    ``others`` announces the others' unfinished steps; ``mark`` closes a step that breaks off. Both were encoded once,
    right after the prompt.
    """

    engine: Engine
    prompt: Block
    history: Block
    others: Block
    mark: Block
    held: Block
    members: list[Member] = field(default_factory=list)
    steps: list[FinishedStep] = field(default_factory=list)
    gone: list[FinishedStep] = field(default_factory=list)  # the steps that have left the view
    note_length: int = 0  # tokens at the start of the history that say so

    @classmethod
    def of(cls, engine: Engine) -> Workspace:
        """A workspace with nothing in it."""
        block = engine.block
        return cls(engine, block(), block(), block(), block(), block())

    def other_members(self, member: Member) -> list[Member]:
        """Everybody else, in worker order."""
        return [other for other in self.members if other is not member]

    def hold(self, tokens: int) -> None:
        """Reserve pages that nobody may use, so that there is room for an answer when the pool is full."""
        if self.held.freed:
            self.held = self.engine.block()
        self.held.reserve(tokens)

    def transcript(self) -> str:
        """All that the workers wrote, as text: finished steps in order, then the unfinished ones."""
        finished = [step.text for step in (*self.gone, *self.steps) if step.number > 0]
        unfinished = [member.text for member in self.members if member.begun]
        return "\n\n".join(text.strip() for text in finished + unfinished)

    @property
    def pages(self) -> int:
        """The pages of all blocks; one that two of them share counts twice."""
        return sum(len(block.pages) for block in self._blocks())

    def last_words(self) -> str:
        """What was written since a tool has told something, or all of `transcript`. For one worker alone."""
        parts = [(step.text, step.told) for step in (*self.gone, *self.steps) if step.number > 0]
        parts += [(member.text, member.told) for member in self.members if member.begun]
        last = max((place for place, (_, told) in enumerate(parts) if told), default=0)
        return "\n\n".join(text[told:].strip() for text, told in parts[last:])

    def free(self) -> None:
        """Give all pages back."""
        for block in self._blocks():
            block.free()

    def _blocks(self) -> list[Block]:
        shared = [self.prompt, self.history, self.others, self.mark, self.held]
        return shared + [block for member in self.members for block in member.blocks()]
