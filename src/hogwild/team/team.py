"""A team: workers on one task, one pass at a time.

team = Team(engine, "What is 17 * 24?", workers=2)
for event in team.run():
    ...
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from hogwild.engine import Engine, Row
from hogwild.errors import BrokenLogits, HogwildError, OptionError
from hogwild.sampling import Sampling
from hogwild.team import events
from hogwild.team.ask import Play, Wait, drive
from hogwild.team.chooser import Chooser
from hogwild.team.drafts import Drafter, ask_drafted
from hogwild.team.ending import Ending
from hogwild.team.events import Event
from hogwild.team.finisher import Finisher
from hogwild.team.layout import Layout, make_layout
from hogwild.team.messages import read_conversation
from hogwild.team.parts import deal
from hogwild.team.planner import plan
from hogwild.team.progress import Progress
from hogwild.team.prompts import PromptSet
from hogwild.team.scribe import Scribe
from hogwild.team.settings import make_settings
from hogwild.team.setup import STEP_ROOM, Setup
from hogwild.team.start import started
from hogwild.team.text import Message, clean, codec_of
from hogwild.team.views import Piece, views
from hogwild.team.window import drop_steps, longest_view
from hogwild.team.worker import MAX_WORKERS, Member, Worker, check_name, make_workers, who_writes
from hogwild.team.workspace import Workspace

Assign = str | Sequence[str | Sequence[str]]
Request = Callable[["Team", Workspace], Play[None]]
"""What was asked of a running team: a method of it, with what it needs, which no other run of it knows."""


class Team:
    """Workers on one task, who share a cache and see each other write.

    ``task`` is a text, or a list of messages (`hogwild.team.messages`): the last one from the user is the task, and the
    others stand around it in the prompt. ``workers`` is a number (1 to 16) or a list of `Worker`; ``layout`` a name or
    a `Layout`; ``assign`` says who does what: ``none`` (the workers decide), a list of parts, or ``plan`` (a first pass
    lists them). ``sampling`` is by default the model's own. All other options are those of `Settings`. Raises
    `OptionError` for what cannot be.

    Attributes: ``space``, the blocks (None before the first pass); see `Progress` for ``passes``, ``answer`` and
    ``reason``.
    """

    def __init__(
        self,
        engine: Engine,
        task: str | Sequence[Message],
        workers: int | Sequence[Worker] = 2,
        *,
        layout: str | Layout = "combined",
        assign: Assign = "none",
        sampling: Sampling | None = None,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self._given = {name: value for name, value in locals().items() if name not in ("self", "options")} | options
        if sampling is not None and not isinstance(sampling, Sampling):
            raise OptionError(f"sampling is {sampling!r}: give a Sampling, or None for the model's own")
        self.engine = engine
        self.workers = make_workers(workers, names)
        # One worker's view is the same in both, and in contiguous nothing is ever moved.
        one_alone = len(self.workers) == 1 and layout == "combined"
        self.layout = make_layout("contiguous" if one_alone else layout)
        self.settings = make_settings(layout=self.layout.name, **options)
        self.asked = read_conversation(task, self.settings.raw)
        if self.settings.raw and (len(self.workers) > 1 or self.workers[0].prompt):
            raise OptionError("raw=True is for one worker without a role: nobody else could be told what to do")
        self.task = self.asked.task
        self.sampling = sampling or Sampling.from_generation_config(engine.generation_config)
        self.codec = codec_of(engine)
        prompts = PromptSet(self.settings.prompt, self.codec.turns)
        self.setup = Setup(engine, self.codec, prompts, self.settings, self.asked, self.workers)
        self.setup.check_templates()
        self.progress = Progress({worker.name: 0 for worker in self.workers})
        self.chooser = Chooser(self.setup, self.sampling)
        self.scribe = Scribe(self.setup, self.layout, self.chooser, self.progress)
        self.finisher = Finisher(self.setup, self.layout, self.chooser, self.sampling)
        self.ending = Ending(self.setup, self.finisher, self.progress)
        self.drafter = Drafter(self.settings.drafts)
        self.assign = assign
        if assign not in ("none", "plan"):
            self.setup.share_out(deal(assign, len(self.workers)))
        self.space: Workspace | None = None
        self._room = 0  # tokens that a view may have
        # Each with the time of the record after which it may be done; and those that were done, with theirs.
        self._requests: deque[tuple[int, Request]] = deque()
        self._done: list[tuple[int, Request]] = []
        self._stop_from = self._stopped = math.inf  # the time after which it may stop, and when it did

    @property
    def passes(self) -> int:
        """Forward passes done so far."""
        return self.progress.passes

    @property
    def answer(self) -> str | None:
        """The parsed final answer, or None."""
        return self.progress.answer

    @property
    def reason(self) -> str | None:
        """Why the team has stopped (``answer``, ``done``, ``budget``, ``window``, ``cache``, ``stopped``), or None."""
        return self.progress.reason

    @property
    def waiting(self) -> bool:
        """Whether nobody can write before a tool returns."""
        members = self.space.members if self.space is not None else []
        return bool(members) and all(member.waiting is not None for member in members)

    def views(self) -> dict[str, list[Piece]]:
        """What each worker sees now, by name; of what runs in another thread, a moment old."""
        return {} if self.space is None or self.space.prompt.freed else views(self.space, self.layout)

    # One pass.

    def step(self) -> list[Event]:
        """Do one pass: every worker reads its view and writes one token, or more with ``drafts``.

        Does nothing once there is a `reason`, and while all `waiting`.
        """
        return list(drive(self.engine, self._step()))

    def _step(self) -> Play[None]:
        yield from self._between_passes()
        if self.reason:
            return
        space = self._space()
        members = who_writes(space.members, self.settings.in_turn)
        if not members:
            return
        with self.progress.limits():
            rows, logits = yield from ask_drafted(self._rows(space, members))
            seen = [self.chooser.seen(member, row, rows) for member, row in zip(members, rows, strict=True)]
            parts = logits.split([1 + row.drafts for row in rows])
            written = [self.scribe.write(*one) for one in zip(members, rows, parts, seen, strict=True)]
            self.progress.passes += 1
            for member, row, tokens in zip(members, rows, written, strict=True):
                self.drafter.learn(member.name, row.drafts, len(tokens) - 1)
                self.drafter.read(member.name, [one.token for one in tokens[:-1]])
                yield from self.scribe.commit(space, member, row, tokens)

    def _rows(self, space: Workspace, members: Sequence[Member]) -> list[Row]:
        """What the workers bring to a pass. Drafts take no room that the window needs for an answer."""
        views = [self.layout.view(space, member) for member in members]
        room = self._room - longest_view(space, self.layout) if self.settings.drafts else 0
        rows = list[Row]()
        for member, view in zip(members, views, strict=True):
            self.drafter.read(member.name, member.pending)
            rows.append(member.row(view, self.drafter.guess(member.name, room)))
            room -= rows[-1].drafts
        return rows

    def _between_passes(self) -> Play[None]:
        """What was asked for, and what the budget and the window say."""
        yield from self._prepare()
        space = self._space()
        with self.progress.limits():
            self._take_results()
            now = self.setup.record.tick()
            while self._requests and not self.reason and self._requests[0][0] < now:
                _, request = self._requests.popleft()
                self._done.append((now - 1, request))
                yield from request(self, space)
            if not space.members:
                self.progress.stop("done")
            if self._stopping():
                self.progress.stop("stopped")
            if self.passes >= self.settings.budget:
                self.progress.stop("budget")
            if not self.reason:
                yield from self._make_room(space)

    def _make_room(self, space: Workspace, more: int = 0) -> Play[None]:
        """Before a view outgrows the model: drop the oldest steps or stop, as the settings say."""
        while longest_view(space, self.layout) + more > self._room:
            count = 0
            if self.settings.on_full == "drop":
                count = yield from drop_steps(space, self.codec.encode(self.setup.text("dropped")))
            if count == 0:
                self.progress.stop("window")
                return
            yield events.StepsDropped(**self.progress.now(), count=count)

    # From the start to the end.

    def run(self) -> Iterator[Event]:
        """Run to the end: `Started` first, `Finished` last. Whatever stops the team, what it has written counts.

        Raises `BrokenLogits`, which has the text so far, when the model gives no numbers.
        """
        return drive(self.engine, self.play())

    def play(self) -> Play[None]:
        """The same for who does the passes: what is asked for is answered by ``send`` or ``throw``, see `Ask`."""
        if self.space is not None:
            raise HogwildError("this team has begun already: a team runs once, make another one")
        self.progress.begin()
        try:
            yield started(self)
            yield from self._prepare()
            while not self.reason:
                yield from self._step()
                yield from self.ending.snapshot(self._space(), self._make_reserves)
                while self.waiting and not self.reason and not (wait := self._wait()).over:
                    yield wait
            yield from self.ending.finish(self._space())
        except BrokenLogits as error:
            raise BrokenLogits(f"after {self.passes} passes, {error}", self._space().transcript()) from error
        finally:
            self.close()

    def prepare(self) -> Iterator[Event]:
        """Read the prompt and set the workers up; done by the first `step` if not before."""
        return drive(self.engine, self._prepare())

    def _prepare(self) -> Play[None]:
        if self.space is not None:
            return
        self.space = space = Workspace.of(self.engine)
        try:
            if self.assign == "plan":
                yield from plan(self.setup, self.sampling, self.progress, self._stopping)
            if self.setup.parts:
                yield events.Planned(**self.progress.now(), parts=self.setup.shares())
            yield from self.setup.read_prompt(space, self._prefilled)
            self.drafter.read("", space.prompt.tokens)
            idle = [name for name, parts in self.setup.parts.items() if self.assign == "plan" and not parts]
            for name in idle:
                yield events.WorkerLeft(**self.progress.now(worker=name), reason="done")
            yield from self._begin_work(space, [worker for worker in self.workers if worker.name not in idle])
            self._make_reserves(space)
            self.setup.check_room(longest_view(space, self.layout))
        except BaseException:
            self.close()
            raise
        self.progress.begin_decoding()

    def close(self) -> None:
        """Free all blocks. A team that was run to the end has done it."""
        if self.space is not None:
            self.space.free()

    def again(self) -> Team:
        """The same team, not yet begun: its play does what this one has done, with the same tokens, and goes on.

        What was asked of this one happens at the same times; what is asked of the new one, after all that.
        """
        twin = type(self)(**self._given)
        twin.setup.record, twin.setup.desk = self.setup.record.again(), self.setup.desk
        twin.progress.written = dict.fromkeys(self.progress.written, 0)
        twin._requests.extend([*self._done, *((twin.setup.record.end, request) for _, request in self._requests)])
        stops = self._stop_from < math.inf
        twin._stop_from = self._stopped if self._stopped < math.inf else twin.setup.record.end if stops else math.inf
        return twin

    def rewind(self) -> None:
        """Free all blocks and become `again`, ready to play. Nobody may ask for anything meanwhile."""
        self.close()
        twin = self.again()
        twin.progress.go_on(self.progress)
        vars(self).update(vars(twin))

    # What may be asked for while it runs, from any thread or signal handler: it happens between two passes.

    def stop(self) -> None:
        """Stop after the current pass and ask for the final answer."""
        self._stop_from = min(self._stop_from, self.setup.record.end)

    def _stopping(self) -> bool:
        """Whether anybody has asked: processes that share a model stop after the same pass."""
        now = self.setup.record.tick()
        stopping = self.engine.ranks.any(self._stop_from < now)
        if stopping:
            self._stopped = min(self._stopped, now - 1)
        return stopping

    def say(self, text: str, name: str = "You") -> None:
        """Put a person's message into the shared history; every worker sees it in the next pass.

        Raises `OptionError` for an empty or a very long message, and for a worker's name.
        """
        check_name(name)
        if name in self.progress.written:
            raise OptionError(f"name is {name!r}, which is a worker's: take another one for a person")
        text = clean(text).strip()
        if not text:
            raise OptionError("text is empty: a message says something")
        self.setup.check_length("text", text)
        self._ask_for(partial(Team._say, name=name, text=text))

    def join(self, worker: Worker) -> None:
        """Let one more worker join. Raises `OptionError` for the 17th, a name that was had, a very long role."""
        if self.settings.raw:
            raise OptionError("raw=True is for one worker: nobody can join it")
        if len(self.progress.written) >= MAX_WORKERS:
            raise OptionError(f"a team has 1 to {MAX_WORKERS} workers over its life, and this one had them")
        if worker.name in self.progress.written:
            raise OptionError(f"name is {worker.name!r}, which a worker of this team has or had")
        self.setup.check_length("prompt", f"{worker.prompt or ''}{worker.opening or ''}")
        self.progress.written[worker.name] = 0
        self._ask_for(partial(Team._join, worker=worker))

    def leave(self, name: str) -> None:
        """Let a worker leave; its finished steps stay. Raises `OptionError` for a name that no worker had."""
        if name not in self.progress.written:
            raise OptionError(f"no worker is called {name!r}; the team has {', '.join(self.progress.written)}")
        self._ask_for(partial(Team._leave, name=name))

    def answer_tool(self, call: str, result: str) -> None:
        """Bring the result of a tool call, by the id of its `ToolCalled`; the worker that waits for it goes on.

        Raises `OptionError` where no such call is open, and for a result that is too long.
        """
        if not isinstance(result, str):
            raise OptionError(f"result is {result!r}: give a text")
        self.setup.check_length("result", result)
        self.setup.desk.answer(call, result)

    def _take_results(self) -> None:
        for call, result in self.setup.desk.take():
            self._ask_for(partial(Team._answer, call=call, result=clean(result)))

    def _answer(self, space: Workspace, call: str, result: str) -> Play[None]:
        for member in [member for member in space.members if member.waiting == call]:
            result, text = self.setup.result_text(member, result)
            yield from self._make_room(space, len(self.codec.encode(text)))
            if not self.reason:
                yield self.scribe.go_on(member, result, text)

    def _wait(self) -> Wait:
        desk = self.setup.desk
        return Wait(lambda: desk.ready or bool(self._requests) or self._stop_from < math.inf, desk.until)

    def _ask_for(self, request: Request) -> None:
        self._requests.append((self.setup.record.end, request))

    def _say(self, space: Workspace, name: str, text: str) -> Play[None]:
        said = self.setup.text("said", name=name, text=text)
        yield from self._make_room(space, len(self.codec.encode(said)))
        if not self.reason:
            yield from self.scribe.tell(space, name, said)
            self.drafter.read("", self.codec.encode(said))
            yield events.Said(**self.progress.now(), name=name, text=text)

    def _leave(self, space: Workspace, name: str) -> Play[None]:
        for member in [member for member in space.members if member.name == name]:
            yield from self.scribe.remove(space, member, "asked")

    def _join(self, space: Workspace, worker: Worker) -> Play[None]:
        words = self.codec.encode(self.codec.harmless(f"{worker.prompt or ''}{worker.opening or ''}"))
        yield from self._make_room(space, len(words) + STEP_ROOM)
        if self.reason:
            return
        alone = list(space.members) if self.setup.solo else []
        self.setup.names.append(worker.name)
        yield from self.scribe.tell(space, worker.name, self.setup.text("joined", me=worker.name))
        for member in alone:
            yield from self.setup.set_apart(space, member)
        self._make_reserves(space)
        yield events.WorkerJoined(**self.progress.now(worker=worker.name))
        yield from self._begin_work(space, [worker])

    def _begin_work(self, space: Workspace, workers: Sequence[Worker]) -> Play[None]:
        for member in (yield from self.setup.add_members(space, workers)):
            if member.private is not None:
                self.drafter.read(member.name, member.private.tokens)
            yield events.StepStarted(**self.progress.now(worker=member.name, step=1), text=member.prefix)

    def _make_reserves(self, space: Workspace) -> None:
        """Keep room for the finisher, in the window and in the pool."""
        reserve = self.setup.reserve()
        self._room = self.engine.max_positions - reserve
        # The finisher writes into copies: of each worker's block, the last page is copied.
        space.hold(reserve + len(self.setup.names) * self.engine.pool.page_size)

    def _prefilled(self, done: int, total: int) -> Event:
        self.progress.prompt_tokens = total
        return events.Prefilled(**self.progress.now(), done=done, total=total)

    def _space(self) -> Workspace:
        assert self.space is not None, "prepare() makes it"
        return self.space
