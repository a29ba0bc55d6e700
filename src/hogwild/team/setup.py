"""The start of a team: the prompt is rendered, encoded and read; every worker gets its blocks and its first words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from hogwild.engine import PREFILL_CHUNK, Block, Engine, Row
from hogwild.errors import OptionError, WindowError
from hogwild.team.answer import items_asked
from hogwild.team.ask import Play, ask, feed
from hogwild.team.desk import Desk
from hogwild.team.events import Event
from hogwild.team.grammar import Schema
from hogwild.team.messages import Conversation
from hogwild.team.parts import Part
from hogwild.team.prompts import PIECES, PromptSet
from hogwild.team.record import Record
from hogwild.team.settings import Settings
from hogwild.team.text import Codec, Reader, Turns, clean
from hogwild.team.tools import ToolBox
from hogwild.team.worker import Member, Worker
from hogwild.team.workspace import Workspace

STEP_ROOM = 64
"""Tokens that must be left for each worker's own text when a team starts."""


LONGEST_SAY = 0.25
"""The share of the model's positions that one message, the role of a worker that joins, or a result may take."""


class Setup:
    """Makes the blocks of a team. Text comes from the prompt set, tokens from the codec.

    Attributes: ``names`` of all workers so far, ``parts`` of each that has some, ``left``, the parts that wait to be
    handed out, ``asked``, ``task`` and ``shown_task``, which is what the workers see of it, ``record`` of all that is
    drawn. What a person wrote, names and parts too, is harmless when it gets into a prompt. ``schema``, if there is
    one, is what the answer follows; ``owner``, if there is one, may alone share the prompt; ``tools`` is what may be
    called, ``desk`` where calls are.
    """

    def __init__(
        self,
        engine: Engine,
        codec: Codec,
        prompts: PromptSet,
        settings: Settings,
        asked: Conversation,
        workers: Sequence[Worker],
    ) -> None:
        self.engine = engine
        self.codec = codec
        self.prompts = prompts
        self.settings = settings
        self.asked = asked.harmless(codec.harmless)
        self.task = self.asked.task
        self.names = [worker.name for worker in workers]
        self._first = workers[0]
        self.parts: dict[str, list[Part]] = {}
        self.left: list[Part] = []
        self.one_by_one = False  # whether parts are handed out one by one
        self.shown_task = self.task
        wanted = settings.schema
        self.tools = ToolBox(settings.tools, codec, engine.name) if settings.tools else None
        self.desk = Desk(settings.tools, settings.tool_seconds)
        self.schema = None if wanted is None else Schema(codec, engine.vocab_size, wanted)
        self.record = Record()
        self.owner: str | None = None

    @property
    def solo(self) -> bool:
        """One worker alone: the model's ordinary output, with nothing around it."""
        return len(self.names) == 1

    def share_out(self, shares: Sequence[Sequence[Part]]) -> None:
        """Give the workers their parts, in order."""
        harmless = [[Part(part.number, self.codec.harmless(part.text)) for part in share] for share in shares]
        self.parts = dict(zip(self.names, harmless, strict=True))
        self.one_by_one = self.settings.one_by_one and not self.solo
        if self.one_by_one:
            self.left, self.parts = self.all_parts(), {name: [] for name in self.names}
            for name in self.names:
                self.take_part(name)

    def take_part(self, name: str) -> bool:
        """Hand a worker the next part that is left; whether there was one."""
        if self.left:
            self.parts.setdefault(name, []).append(self.left.pop(0))
            return True
        return False

    def give_back(self, name: str) -> None:
        """A worker leaves before its part is done: it is the next one that is left."""
        if self.one_by_one and self.parts.get(name):
            self.left.insert(0, self.parts[name].pop())

    def own_parts(self, name: str) -> list[Part]:
        """What a worker is asked to do now."""
        parts = self.parts.get(name, [])
        return parts[-1:] if self.one_by_one else parts

    def text(self, piece: str, **fields: Any) -> str:
        """Render a piece of the prompt with what every piece may use."""
        harmless = self.codec.harmless
        common: dict[str, Any] = {"names": list(map(harmless, self.names)), "n": len(self.names)}
        common["schema"] = "" if self.schema is None else harmless(self.schema.text)
        common |= {"form": self.settings.answer, "task": self.shown_task, "parts": self.all_parts()}
        common["one_by_one"] = self.one_by_one
        shown = {key: harmless(value) if isinstance(value, str) else value for key, value in fields.items()}
        return self.prompts.render(piece, **(common | shown))

    def shares(self) -> dict[str, list[str]]:
        """The texts of the parts that each worker has or had."""
        return {name: [part.text for part in parts] for name, parts in self.parts.items()}

    def all_parts(self) -> list[Part]:
        """The parts of all workers, by number."""
        taken = [part for parts in self.parts.values() for part in parts]
        return sorted([*taken, *self.left], key=lambda part: part.number)

    def check_templates(self) -> None:
        """Render every piece once, so that a broken one is known before the team starts. Raises `OptionError`."""
        fields = {"me": self.names[0], "index": 0, "step": 1, "role": "", "name": "You", "text": "", "limit": 4}
        fields |= {"item": 1, "items": 2}
        for piece in PIECES:
            self.text(piece, **fields)

    @cached_property
    def items(self) -> int:
        """How many answers the finisher asks for: as many as the task wants in its box."""
        return items_asked(self.task) if self.settings.answer == "boxed" else 1

    def finisher_text(self, item: int | None = None) -> str:
        """What asks for the final answer, or for answer ``item`` (from 1) alone; it may show the task and all parts."""
        closing = self.codec.thinking[1]
        asked = self.text(f"finish_{self.settings.answer}", task=self.task, item=item, items=self.items)
        if asked.endswith(self.codec.turns.assistant):  # the answer is a turn of its own
            asked = self.codec.skip_thoughts(asked)
        return f"\n{closing}\n\n{asked}" if closing else asked

    def read_prompt(self, space: Workspace, tell: Callable[[int, int], Event]) -> Play[None]:
        """Read the prompt into the workspace, in chunks; ``tell(tokens done, tokens in all)`` after each."""
        tokens = self.prompt_tokens()
        self.check_room(len(tokens))
        if self.settings.share_prompts:
            space.prompt = self.engine.prefixes.fork(tokens, self.owner)
        if len(space.prompt):
            yield tell(len(space.prompt), len(tokens))
        while (done := len(space.prompt)) < len(tokens):
            yield from ask([Row([space.prompt], tokens[done : done + PREFILL_CHUNK])])
            if self.settings.share_prompts:  # who begins in the same way need not wait for the rest
                self.engine.prefixes.keep(space.prompt, self.owner)
            yield tell(len(space.prompt), len(tokens))
        headers = [(space.mark, self.text("mark"))]
        if not self.solo:
            headers.append((space.others, self.text("others")))
        yield from self._write(space, headers)

    def prompt_tokens(self) -> list[int]:
        """The prompt, as far as it is known: a plan may change it."""
        asked = self.asked
        if asked.raw:
            return self.codec.encode(asked.task, whole=True)
        prompt = self.codec.chat(
            self._user_text(), asked.before, asked.after, self.tools.definitions if self.tools else ()
        )
        if not self.solo:
            prompt = self.codec.open_thoughts(prompt)
        return self.codec.encode(prompt + self.text("history"))

    def _user_text(self) -> str:
        """The user's message. Where one worker is alone, its role and its parts stand in it: nobody else reads it."""
        texts, parts, role = [self.text("user")], self.all_parts(), self._first.prompt or ""
        if self.solo and (role or parts):
            texts.append(self.text("private", me=self._first.name, role=role, parts=parts, turn=Turns("", "")))
        return "\n\n".join(text for text in texts if text)

    def add_members(self, space: Workspace, workers: Sequence[Worker]) -> Play[list[Member]]:
        """Give workers their blocks, all read in one pass; their first words are pending."""
        texts, members = list[tuple[Block, str]](), list[Member]()
        for worker in workers:
            if worker.name not in self.parts:  # it joins
                self.take_part(worker.name)
            member = Member(worker, self.names.index(worker.name), self.engine.block(), Reader(self.codec))
            texts += self._lay_out(member)
            if self.schema is not None and self.solo:
                member.grammar = self.schema.begin()
            members.append(member)
        try:
            yield from self._write(space, texts)
        except BaseException:
            for member in members:
                member.free()
            raise
        for member in members:
            if member.worker.opening is not None:
                opening = self.codec.harmless(member.worker.opening)
            else:
                opening = self.text("opening", me=member.name, index=member.index)
            self.begin_step(member, [], opening)
            if not member.pending:
                self._hand_over_last_token(space, member)
        space.members += members
        return members

    def _lay_out(self, member: Member) -> list[tuple[Block, str]]:
        """The blocks around a worker's own text that are not empty, with what is to be written into them."""
        texts = list[tuple[Block, str]]()

        def block(text: str) -> Block | None:
            if not self.codec.encode(text):
                return None
            texts.append((self.engine.block(), text))
            return texts[-1][0]

        if not self.solo and (member.worker.prompt or self.parts.get(member.name)):
            member.private = block(self._private_text(member))
        if not self.solo:
            member.gap = block("\n\n") if member.private is not None else None
            member.header = block(self.text("own", me=member.name))
        return texts

    def _private_text(self, member: Member) -> str:
        """What a worker alone is told: its role, and the parts that it is to do now."""
        role = member.worker.prompt or ""
        return self.text("private", me=member.name, role=role, parts=self.own_parts(member.name))

    def hand_over(self, space: Workspace, member: Member) -> Play[None]:
        """Begin the step of the part that a member has just taken: it is asked for it, in a turn of its own.

        Where its layout keeps what it has written in its block, the question comes behind that, for all to see.
        """
        asked, carried = self._private_text(member), list[int]()
        if len(member.block):
            carried = self.codec.encode(asked)
        elif self.codec.encode(asked):
            fresh, old = self.engine.block(), (member.private, member.gap)
            member.private, member.gap = fresh, self.engine.block()
            for block in old:
                if block is not None:
                    block.free()
            yield from self._write(space, [(fresh, asked), (member.gap, "\n\n")])
        member.step += 1
        self.begin_step(member, carried)
        if not member.pending:
            self._hand_over_last_token(space, member)

    def set_apart(self, space: Workspace, member: Member) -> Play[None]:
        """Another one has joined a worker that was alone: what it has written gets its name, and a gap before it."""
        member.grammar = None  # the finisher writes the answer now
        name = self.text("step", me=member.name, step=1, parts=self.parts.get(member.name, []))
        member.gap, member.private = self.engine.block(), self.engine.block()
        yield from self._write(space, [(member.gap, f"\n\n{name}"), (member.private, "\n\n")])

    def begin_step(self, member: Member, carried: list[int], words: str = "") -> None:
        """Put the worker's name before its next step. ``carried`` is the token that ended the step before."""
        parts = self.own_parts(member.name)
        member.prefix = self.text("step", me=member.name, step=member.step, parts=parts) + words
        member.text, member.shown, member.told = member.prefix, len(member.prefix), 0
        lead = "" if carried or self.solo or member.private is not None else "\n\n"
        member.pending = [*carried, *self.codec.encode(lead + member.prefix)]
        member.reader = Reader(self.codec, member.pending)

    def reserve(self) -> int:
        """Tokens of a view that are kept free for the finisher: marks, question, answer and what is pending."""
        return self._answer_room() + (len(self.names) + 1) * (len(self.codec.encode(self.text("mark"))) + 2)

    def _answer_room(self) -> int:
        """Tokens of the finisher's questions and answers; where it asks for several, each has pages of its own."""
        if self.items == 1:
            return len(self.codec.encode(self.finisher_text())) + self.settings.longest_answer
        size, longest = self.engine.pool.page_size, self.settings.longest_item(self.items)
        asked = [len(self.codec.encode(self.finisher_text(item + 1))) for item in range(self.items)]
        return sum(-(-(each + longest) // size) * size for each in asked)

    def check_room(self, tokens: int) -> None:
        """Raise `WindowError` when the workers have no room to write after so many tokens."""
        room = self.engine.max_positions - self.reserve() - STEP_ROOM * len(self.names)
        if tokens > room:
            raise WindowError(
                f"the task and its prompt are {tokens} tokens long, but only {max(room, 0)} of the model's "
                f"{self.engine.max_positions} positions are left for them: shorten the task or take another model"
            )

    def check_length(self, field: str, text: str) -> None:
        """Raise `OptionError` for a text that is too long to come into a running team."""
        length, longest = len(self.codec.encode(clean(text))), int(self.engine.max_positions * LONGEST_SAY)
        if length > longest:
            raise OptionError(f"{field} is {length} tokens long: a running team takes in at most {longest} at once")

    def result_text(self, member: Member, result: str) -> tuple[str, str]:
        """The result of a member's call, and what is to stand behind the call, up to where the member goes on."""
        assert self.tools is not None, "only who has tools calls one"
        assert member.found is not None, "only who has called waits"
        try:
            self.check_length("result", result)
        except OptionError as error:
            result = f"error: {error}"
        text = self.tools.returned(result, member.waiting or "", member.found)
        return result, text if self.solo else self.codec.open_thoughts(text)

    def _hand_over_last_token(self, space: Workspace, member: Member) -> None:
        """A worker must bring a token to its first pass: it feeds the last one of what stands right before it."""
        before = member.private or space.prompt
        member.from_private = before is member.private
        member.pending = [before.tokens[-1]]
        before.truncate(len(before) - 1)

    def _write(self, space: Workspace, texts: Sequence[tuple[Block, str]]) -> Play[None]:
        """Write each text into its block, right after the prompt and the history, all in one pass."""
        encoded = [(block, self.codec.encode(text)) for block, text in texts]
        rows = [Row([space.prompt, space.history, block], tokens) for block, tokens in encoded if tokens]
        if rows:
            yield from feed(rows)
