"""The start of a team: the prompt is rendered, encoded and read; every worker gets its blocks and its first words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hogwild.engine import PREFILL_CHUNK, Block, Engine, Row
from hogwild.errors import WindowError
from hogwild.team.parts import Part
from hogwild.team.prompts import PromptSet
from hogwild.team.settings import Settings
from hogwild.team.text import Codec, Reader
from hogwild.team.worker import Member, Worker
from hogwild.team.workspace import Workspace

STEP_ROOM = 64
"""Tokens that must be left for the workers' own text when a team starts."""


class Setup:
    """Makes the blocks of a team. Text comes from the prompt set, tokens from the codec."""

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

    def text(self, piece: str, **fields: Any) -> str:
        """Render a piece of the prompt with what every piece may use."""
        common: dict[str, Any] = {"names": self.names, "n": len(self.names), "form": self.settings.answer, "task": self.shown_task}
        common["parts"] = self.all_parts()
        return self.prompts.render(piece, **(common | fields))

    def all_parts(self) -> list[Part]:
        """The parts of all workers, by number."""
        return sorted((part for parts in self.parts.values() for part in parts), key=lambda part: part.number)

    def finisher_text(self) -> str:
        """What asks for the final answer; it shows the whole task and all parts."""
        thought = self.codec.thinking[1]
        asked = self.text(f"finish_{self.settings.answer}", task=self.task)
        return f"\n{thought}\n\n{asked}" if thought else asked

    def read_prompt(self) -> Iterator[tuple[int, int, Workspace]]:
        """Read the prompt in chunks; yields (tokens done, tokens in all, the workspace it goes to)."""
        tokens = self.codec.encode(self.codec.chat(self.text("user")) + self.text("history"))
        self._check_window(len(tokens))
        block = self.engine.block
        space = Workspace(self.engine, block(), block(), block(), block(), block())
        for first in range(0, len(tokens), PREFILL_CHUNK):
            chunk = tokens[first : first + PREFILL_CHUNK]
            self.engine.forward([Row([space.prompt], chunk)])
            yield first + len(chunk), len(tokens), space
        if not self.solo:
            self._write(space, space.others, self.text("others"))
        self._write(space, space.mark, self.text("mark"))

    def add_member(self, space: Workspace, worker: Worker) -> Member:
        """Give a worker its blocks; its first words are pending."""
        member = Member(worker, self.names.index(worker.name), self.engine.block(), Reader(self.codec))
        parts = self.parts.get(worker.name, [])
        if worker.prompt or parts:
            member.private = self.engine.block()
            role = self.codec.harmless(worker.prompt or "")
            self._write(space, member.private, self.text("private", me=worker.name, role=role, parts=parts))
        if not self.solo:
            member.header = self.engine.block()
            self._write(space, member.header, self.text("own", me=worker.name))
        opening = self.text("opening", me=worker.name, index=member.index, parts=parts)
        self.begin_step(member, [], worker.opening if worker.opening is not None else opening)
        if not member.pending:  # one worker alone: the last token of the prompt is fed again by nobody
            self._hand_over_last_token(space, member)
        space.members.append(member)
        return member

    def begin_step(self, member: Member, carried: list[int], words: str = "") -> None:
        """Put the worker's name before its next step. ``carried`` is the token that ended the step before."""
        parts = self.parts.get(member.name, [])
        member.prefix = self.text("step", me=member.name, step=member.step, parts=parts) + words
        member.text = member.prefix
        lead = "" if carried or self.solo or member.private is not None else "\n\n"
        member.pending = [*carried, *(self.codec.encode(lead + member.prefix) if member.prefix else [])]
        member.reader = Reader(self.codec)

    def reserve(self, workers: int) -> int:
        """Tokens of a view that are kept free for the finisher: marks, question, answer and what is pending."""
        asked = len(self.codec.encode(self.finisher_text())) + self.settings.longest_answer
        return asked + (workers + 1) * (len(self.codec.encode(self.text("mark"))) + 2)

    def _hand_over_last_token(self, space: Workspace, member: Member) -> None:
        """A worker must bring a token to its first pass: it takes the last one of what stands right before it."""
        before = member.private or space.prompt
        member.pending = [before.tokens[-1]]
        before.truncate(len(before) - 1)

    def _write(self, space: Workspace, block: Block, text: str) -> None:
        tokens = self.codec.encode(text)
        if tokens:
            self.engine.prefill([space.prompt, space.history, block], tokens)

    def _check_window(self, prompt: int) -> None:
        room = self.engine.max_positions - self.reserve(len(self.names)) - STEP_ROOM * len(self.names)
        if prompt > room:
            raise WindowError(
                f"the task and its prompt are {prompt} tokens long, but only {max(room, 0)} of the model's "
                f"{self.engine.max_positions} positions are left for them: shorten the task or take another model"
            )
