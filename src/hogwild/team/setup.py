"""The start of a team: the prompt is rendered, encoded and read; every worker gets its blocks and its first words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hogwild.engine import PREFILL_CHUNK, Block, Engine, Row
from hogwild.errors import WindowError
from hogwild.team.parts import Part
from hogwild.team.prompts import PIECES, PromptSet
from hogwild.team.settings import Settings
from hogwild.team.text import Codec, Reader
from hogwild.team.worker import Member, Worker
from hogwild.team.workspace import Workspace

STEP_ROOM = 64
"""Tokens that must be left for each worker's own text when a team starts."""


class Setup:
    """Makes the blocks of a team. Text comes from the prompt set, tokens from the codec.

    Attributes: ``names`` of all workers so far, ``parts`` of each that has some, ``task`` and ``shown_task``, which is
    what the workers see of it. What a person wrote, names and parts too, is harmless when it gets into a prompt.
    """

    def __init__(
        self, engine: Engine, codec: Codec, prompts: PromptSet, settings: Settings, task: str, workers: Sequence[Worker]
    ) -> None:
        self.engine = engine
        self.codec = codec
        self.prompts = prompts
        self.settings = settings
        self.task = codec.harmless(task)
        self.names = [worker.name for worker in workers]
        self.parts: dict[str, list[Part]] = {}
        self.shown_task = self.task

    @property
    def solo(self) -> bool:
        """One worker alone: the model's ordinary output, with nothing around it."""
        return len(self.names) == 1

    def share_out(self, shares: Sequence[Sequence[Part]]) -> None:
        """Give the workers their parts, in order."""
        harmless = [[Part(part.number, self.codec.harmless(part.text)) for part in share] for share in shares]
        self.parts = dict(zip(self.names, harmless, strict=True))

    def text(self, piece: str, **fields: Any) -> str:
        """Render a piece of the prompt with what every piece may use."""
        harmless = self.codec.harmless
        common: dict[str, Any] = {"names": list(map(harmless, self.names)), "n": len(self.names)}
        common |= {"form": self.settings.answer, "task": self.shown_task, "parts": self.all_parts()}
        shown = {key: harmless(value) if isinstance(value, str) else value for key, value in fields.items()}
        return self.prompts.render(piece, **(common | shown))

    def all_parts(self) -> list[Part]:
        """The parts of all workers, by number."""
        return sorted((part for parts in self.parts.values() for part in parts), key=lambda part: part.number)

    def check_templates(self) -> None:
        """Render every piece once, so that a broken one is known before the team starts. Raises `OptionError`."""
        fields = {"me": self.names[0], "index": 0, "step": 1, "role": "", "name": "You", "text": "", "limit": 4}
        for piece in PIECES:
            self.text(piece, **fields)

    def finisher_text(self) -> str:
        """What asks for the final answer; it shows the whole task and all parts."""
        closing = self.codec.thinking[1]
        asked = self.text(f"finish_{self.settings.answer}", task=self.task)
        if asked.endswith(self.codec.turns.assistant):  # the answer is a turn of its own
            asked = self.codec.skip_thoughts(asked)
        return f"\n{closing}\n\n{asked}" if closing else asked

    def read_prompt(self, space: Workspace) -> Iterator[tuple[int, int]]:
        """Read the prompt into the workspace, in chunks; yields (tokens done, tokens in all)."""
        prompt = self.codec.chat(self.text("user"))
        if not self.solo:
            prompt = self.codec.open_thoughts(prompt)
        tokens = self.codec.encode(prompt + self.text("history"))
        self.check_room(len(tokens))
        for first in range(0, len(tokens), PREFILL_CHUNK):
            chunk = tokens[first : first + PREFILL_CHUNK]
            self.engine.forward([Row([space.prompt], chunk)])
            yield first + len(chunk), len(tokens)
        if not self.solo:
            self._write(space, space.others, self.text("others"))
        self._write(space, space.mark, self.text("mark"))

    def add_member(self, space: Workspace, worker: Worker) -> Member:
        """Give a worker its blocks; its first words are pending."""
        member = Member(worker, self.names.index(worker.name), self.engine.block(), Reader(self.codec))
        parts = self.parts.get(worker.name, [])
        if worker.prompt or parts:
            private = self.text("private", me=worker.name, role=worker.prompt or "", parts=parts)
            member.private = self._written(space, private)
        if not self.solo:
            member.gap = self._written(space, "\n\n") if member.private is not None else None
            member.header = self._written(space, self.text("own", me=worker.name))
        if worker.opening is not None:
            opening = self.codec.harmless(worker.opening)
        else:
            opening = self.text("opening", me=worker.name, index=member.index, parts=parts)
        self.begin_step(member, [], opening)
        if not member.pending:
            self._hand_over_last_token(space, member)
        space.members.append(member)
        return member

    def begin_step(self, member: Member, carried: list[int], words: str = "") -> None:
        """Put the worker's name before its next step. ``carried`` is the token that ended the step before."""
        parts = self.parts.get(member.name, [])
        member.prefix = self.text("step", me=member.name, step=member.step, parts=parts) + words
        member.text = member.prefix
        lead = "" if carried or self.solo or member.private is not None else "\n\n"
        member.pending = [*carried, *self.codec.encode(lead + member.prefix)]
        member.reader = Reader(self.codec, member.pending)

    def reserve(self) -> int:
        """Tokens of a view that are kept free for the finisher: marks, question, answer and what is pending."""
        asked = len(self.codec.encode(self.finisher_text())) + self.settings.longest_answer
        return asked + (len(self.names) + 1) * (len(self.codec.encode(self.text("mark"))) + 2)

    def check_room(self, tokens: int) -> None:
        """Raise `WindowError` when the workers have no room to write after so many tokens."""
        room = self.engine.max_positions - self.reserve() - STEP_ROOM * len(self.names)
        if tokens > room:
            raise WindowError(
                f"the task and its prompt are {tokens} tokens long, but only {max(room, 0)} of the model's "
                f"{self.engine.max_positions} positions are left for them: shorten the task or take another model"
            )

    def _hand_over_last_token(self, space: Workspace, member: Member) -> None:
        """A worker must bring a token to its first pass: it feeds the last one of what stands right before it."""
        before = member.private or space.prompt
        member.from_private = before is member.private
        member.pending = [before.tokens[-1]]
        before.truncate(len(before) - 1)

    def _written(self, space: Workspace, text: str) -> Block | None:
        """A new block with a text in it, or None if that is empty."""
        block = self.engine.block()
        self._write(space, block, text)
        return block if len(block) else None

    def _write(self, space: Workspace, block: Block, text: str) -> None:
        tokens = self.codec.encode(text)
        if tokens:
            self.engine.prefill([space.prompt, space.history, block], tokens)
