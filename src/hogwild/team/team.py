"""A team: workers on one task, one pass at a time.

team = Team(engine, "What is 17 * 24?", workers=2)
for event in team.run():
    ...
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hogwild.engine import Engine, Row
from hogwild.errors import CacheFull, OptionError, WindowError
from hogwild.sampling import Sampling
from hogwild.team import events
from hogwild.team.answer import find_answer
from hogwild.team.chooser import Chooser
from hogwild.team.events import Event
from hogwild.team.finisher import Finisher
from hogwild.team.layout import Layout, make_layout
from hogwild.team.parts import deal
from hogwild.team.planner import PARTS_PER_WORKER, plan_parts
from hogwild.team.prompts import PromptSet
from hogwild.team.settings import make_settings
from hogwild.team.setup import Setup
from hogwild.team.steps import ends_step
from hogwild.team.text import Codec, end_ids
from hogwild.team.versions import versions
from hogwild.team.window import drop_steps, longest_view
from hogwild.team.worker import MAX_WORKERS, Member, Worker, make_workers
from hogwild.team.workspace import FinishedStep, Workspace

Assign = str | Sequence[str | Sequence[str]]
Request = Callable[[Workspace], list[Event]]


class Team:
    """Workers on one task, who share a cache and see each other write.

    ``workers`` is a number (1 to 16) or a list of `Worker`; ``layout`` a name or a `Layout`; ``assign`` says who does
    what: ``none`` (the workers decide), a list of parts, or ``plan`` (a first pass lists them). ``sampling`` is by
    default the model's own. All other options are those of `Settings`. Raises `OptionError` for what cannot be.

    Attributes: ``passes`` done, ``answer`` (parsed, or None), ``reason`` why it has stopped (or None), ``space``, the
    blocks (None before the first pass).
    """

    def __init__(
        self,
        engine: Engine,
        task: str,
        workers: int | list[Worker] = 2,
        *,
        layout: str | Layout = "combined",
        assign: Assign = "none",
        sampling: Sampling | None = None,
        names: list[str] | None = None,
        **options: Any,
    ) -> None:
        if not task.strip():
            raise OptionError("task is empty: say what the team should do")
        self.engine = engine
        self.task = task
        self.workers = make_workers(workers, names)
        self.layout = make_layout(layout)
        if len(self.workers) == 1 and self.layout.name == "combined":
            self.layout = make_layout("contiguous")  # one worker's view is the same, and nothing is ever moved
        self.settings = make_settings(layout=self.layout.name, **options)
        self.sampling = sampling or Sampling.from_generation_config(engine.generation_config)
        self.codec = Codec(engine.tokenizer, engine.vocab_size, end_ids(engine.generation_config))
        prompts = PromptSet(self.settings.prompt, self.codec.turns)
        self.setup = Setup(engine, self.codec, prompts, self.settings, task, self.workers)
        self.finisher = Finisher(self.setup, self.layout, self.sampling)
        self.assign = assign
        if not isinstance(assign, str):
            self._share_out(assign)
        elif assign not in ("none", "plan"):
            raise OptionError(f"assign is {assign!r}: give none, plan or a list of parts")
        self.space: Workspace | None = None
        self.passes = 0
        self.answer: str | None = None
        self.reason: str | None = None
        self._began = time.perf_counter()
        self._decode_began = self._began
        self._requests: deque[Request] = deque()
        self._answer_text = ""
        self._unchecked = 0  # tokens since the last question about redundant work
        self._written: dict[str, int] = {worker.name: 0 for worker in self.workers}
        self._prompt_tokens = 0
        self._snapshots_left = sorted(set(self.settings.snapshots))
        self._chooser = self._make_chooser()

    # One pass.

    def step(self) -> list[Event]:
        """Do one pass: every worker reads its view and writes one token."""
        happened, space = self._before_pass()
        if self.reason:
            return happened
        members = list(space.members)
        views = [self.layout.view(space, member) for member in members]
        logits = self.engine.forward([Row(view, m.pending) for view, m in zip(views, members, strict=True)])
        tokens = [self._chooser.choose(*one) for one in zip(members, views, logits, strict=True)]
        self.passes += 1
        for member, token in zip(members, tokens, strict=True):
            happened += self._commit(space, member, token)
        return happened

    def _before_pass(self) -> tuple[list[Event], Workspace]:
        """What was asked for between two passes, and what the budget and the window say."""
        happened = list(self.prepare())
        space = self._space()
        while self._requests:
            happened += self._requests.popleft()(space)
        if self.passes >= self.settings.budget:
            self.reason = self.reason or "budget"
        if not space.members:
            self.reason = self.reason or "done"
        return happened + ([] if self.reason else self._make_room(space)), space

    def _commit(self, space: Workspace, member: Member, token: int) -> list[Event]:
        """Write down what a worker has sampled, and end its step or its work where that says so."""
        member.written += 1
        self._written[member.name] = member.written
        self._unchecked += 1
        if token in self.codec.end_ids:
            return self._end_work(space, member)
        piece = member.reader.push(token)
        ends = ends_step(member.body, piece)
        member.text += piece
        member.pending = [token]
        now = self._now(worker=member.name, step=member.step)
        happened: list[Event] = [events.Token(**now, token=token, text=piece)]
        if self._chooser.stopped(member):
            happened += self._end_work(space, member)
        elif ends:
            happened += [*self._end_step(space, member), *self._begin_step(member, token)]
        return happened

    def _end_step(self, space: Workspace, member: Member) -> list[Event]:
        """The step moves to where its layout keeps finished ones; it may hold the answer."""
        now = self._now(worker=member.name, step=member.step)
        self.layout.end_step(space, member)
        happened: list[Event] = [events.StepFinished(**now, text=member.text.strip())]
        answer = find_answer(member.body, self.settings.answer, self.task)
        if answer is not None and self.answer is None:
            self.answer, self.reason, self._answer_text = answer, "answer", member.body.strip()
            happened.append(events.AnswerFound(**now, answer=answer))
        return happened

    def _begin_step(self, member: Member, carried: int) -> list[Event]:
        """The next step begins with the token that ended the last one, the worker's name and, when due, the check."""
        member.step += 1
        due = 0 < self.settings.check_every <= self._unchecked and not self.setup.solo
        check = self.setup.text("check", me=member.name) if due else ""
        self.setup.begin_step(member, [carried], check)
        now = self._now(worker=member.name, step=member.step)
        happened: list[Event] = [events.StepStarted(**now, text=member.prefix)]
        if due:
            self._unchecked = 0
            happened.append(events.CheckAsked(**now))
        return happened

    def _end_work(self, space: Workspace, member: Member) -> list[Event]:
        """A worker has nothing more to write: its last step is finished, and it leaves."""
        happened = self._end_step(space, member) if member.body.strip() else []
        return happened + self._remove(space, member, "done")

    def _remove(self, space: Workspace, member: Member, reason: str) -> list[Event]:
        space.members.remove(member)
        self.layout.leave(space, member)
        for block in (member.private, member.header):
            if block is not None:
                block.free()
        return [events.WorkerLeft(**self._now(worker=member.name), reason=reason)]

    def _make_room(self, space: Workspace) -> list[Event]:
        """Before a view outgrows the model: drop the oldest steps or stop, as the settings say."""
        happened, room = list[Event](), self.engine.max_positions - self.setup.reserve(len(space.members))
        while longest_view(space, self.layout) > room and not self.reason:
            count = 0
            if self.settings.on_full == "drop":
                count = drop_steps(space, self.codec.encode(self.setup.text("dropped")))
            if count == 0:
                self.reason = "window"
            else:
                space.dropped += count
                happened.append(events.StepsDropped(**self._now(), count=count))
        return happened

    # From the start to the end.

    def run(self) -> Iterator[Event]:
        """Run to the end: `Started` first, `Finished` last. Whatever stops the team, what it has written counts."""
        try:
            yield self._started()
            yield from self.prepare()
            while not self.reason:
                try:
                    yield from self.step()
                except CacheFull:
                    self.reason = "cache"
                except WindowError:  # of a message that a person put in
                    self.reason = "window"
                yield from self._snapshot()
            yield from self._finish()
        finally:
            self.close()

    def prepare(self) -> Iterator[Event]:
        """Read the prompt and set the workers up; done by the first `step` if not before."""
        if self.space is not None:
            return
        if self.assign == "plan":
            yield from self._plan()
        if self.setup.parts:
            shares = {name: [part.text for part in parts] for name, parts in self.setup.parts.items()}
            yield events.Planned(**self._now(), parts=shares)
        for done, total, space in self.setup.read_prompt():
            self.space, self._prompt_tokens = space, total
            yield events.Prefilled(**self._now(), done=done, total=total)
        space = self._space()
        space.hold(self.setup.reserve(len(self.workers)))
        self._chooser = self._make_chooser()  # a plan may have given the workers parts
        for worker in self.workers:
            member = self.setup.add_member(space, worker)
            yield events.StepStarted(**self._now(worker=member.name, step=1), text=member.prefix)
        self._decode_began = time.perf_counter()

    def close(self) -> None:
        """Free all blocks. A team that was run to the end has done it."""
        if self.space is not None:
            self.space.free()

    # What may be asked for while it runs, from any thread or signal handler: it happens between two passes.

    def stop(self) -> None:
        """Stop after the current pass and ask for the final answer."""
        self.reason = self.reason or "stopped"

    def say(self, text: str, name: str = "You") -> None:
        """Put a person's message into the shared history; every worker sees it in the next pass."""
        if not text.strip() or not name.strip():
            raise OptionError("say needs a text and a name that are not empty")
        self._requests.append(lambda space: [self._say(space, name, text)])

    def join(self, worker: Worker) -> None:
        """Let one more worker join."""
        if len(self._written) >= MAX_WORKERS:
            raise OptionError(f"a team has 1 to {MAX_WORKERS} workers over its life, and this one had them")
        if worker.name in self._written:
            raise OptionError(f"name is {worker.name!r}, which a worker of this team has or had")
        self._written[worker.name] = 0
        self._requests.append(lambda space: self._join(space, worker))

    def leave(self, name: str) -> None:
        """Let a worker leave; its finished steps stay."""
        if name not in self._written:
            raise OptionError(f"no worker is called {name!r}; the team has {', '.join(self._written)}")

        def request(space: Workspace) -> list[Event]:
            leaving = [member for member in space.members if member.name == name]
            return [event for member in leaving for event in self._remove(space, member, "asked")]

        self._requests.append(request)

    def _say(self, space: Workspace, name: str, text: str) -> Event:
        harmless = self.codec.harmless(text.strip())
        self._tell(space, name, self.setup.text("said", name=self.codec.harmless(name), text=harmless))
        return events.Said(**self._now(), name=name, text=text)

    def _tell(self, space: Workspace, name: str, text: str) -> None:
        """Write a text into the history that no worker has written."""
        begin = len(space.history)
        self.engine.prefill([space.prompt, space.history], self.codec.encode(text))
        space.steps.append(FinishedStep(name, 0, text.strip(), space.history, begin, len(space.history)))

    def _join(self, space: Workspace, worker: Worker) -> list[Event]:
        self.setup.names.append(worker.name)
        self._tell(space, worker.name, self.setup.text("said", name=worker.name, text="I have joined the team."))
        self._chooser = self._make_chooser()
        member = self.setup.add_member(space, worker)
        now = self._now(worker=worker.name)
        return [events.WorkerJoined(**now), events.StepStarted(**now, step=1, text=member.prefix)]

    def _share_out(self, parts: Sequence[str | Sequence[str]]) -> None:
        shares = deal(parts, len(self.workers))
        self.setup.parts = {worker.name: share for worker, share in zip(self.workers, shares, strict=True)}

    def _plan(self) -> Iterator[Event]:
        """A short first pass by one reader lists the parts. A task that cannot be split is left to the workers."""
        limit = PARTS_PER_WORKER * len(self.workers)
        question = self.setup.text("plan", limit=limit)
        parts, passes = plan_parts(self.engine, self.codec, question, limit, self.sampling, self.settings.seed)
        self.passes += passes
        if len(parts) >= 2:
            self.setup.shown_task = ""  # a small model that sees the whole task does the whole task
            self._share_out(parts)
        else:
            yield events.Planned(**self._now(), parts={})

    def _finish(self) -> Iterator[Event]:
        """The answer: found by a worker, written by one worker alone, or asked for at once."""
        space = self._space()
        if self.reason not in ("answer", "done"):
            yield events.BudgetReached(**self._now(), reason=self.reason or "stopped")
        decode_seconds = time.perf_counter() - self._decode_began
        space.held.free()
        text = space.transcript()
        if self.answer is not None:
            text = self._answer_text
        elif self.setup.solo and self.settings.answer == "text":
            self.answer = text or None
        else:
            pieces = list[str]()
            for piece in self.finisher.ask(space):
                pieces.append(piece)
                yield events.AnswerToken(**self._now(), text=piece)
            if pieces:
                self.answer, text = self.finisher.parse("".join(pieces))
        yield self._finished(text, decode_seconds)

    def _snapshot(self) -> Iterator[Event]:
        """What the finisher says at an intermediate budget; the team goes on as if it had not been asked."""
        while self._snapshots_left and self._snapshots_left[0] <= self.passes:
            budget = self._snapshots_left.pop(0)
            answer, text = self.finisher.parse("".join(self.finisher.ask(self._space())))
            yield events.Snapshot(**self._now(), budget=budget, answer=answer, text=text)

    def _started(self) -> Event:
        sampling = [asdict(worker.sampling or self.sampling) for worker in self.workers]
        assign = self.assign if isinstance(self.assign, str) else [list(map(str, share)) for share in self._shares()]
        return events.Started(
            **self._now(),
            task=self.task,
            model=self.engine.name,
            workers=[worker.name for worker in self.workers],
            layout=self.layout.name,
            budget=self.settings.budget,
            seeds=[self.settings.seed] * len(self.workers),
            settings=self.settings.as_dict() | {"sampling": sampling, "assign": assign},
            versions=versions(),
        )

    def _finished(self, text: str, decode_seconds: float) -> Event:
        return events.Finished(
            **self._now(),
            answer=self.answer,
            text=text,
            reason=self.reason or "done",
            passes=self.passes,
            tokens=dict(self._written),
            prompt_tokens=self._prompt_tokens,
            prefill_seconds=self._decode_began - self._began,
            decode_seconds=decode_seconds,
        )

    def _shares(self) -> list[list[str]]:
        return [[part.text for part in share] for share in self.setup.parts.values()]

    def _make_chooser(self) -> Chooser:
        restricted, may_end = not self.setup.solo, self.setup.solo or bool(self.setup.parts)
        return Chooser(self.codec, self.sampling, self.settings.seed, restricted=restricted, may_end=may_end)

    def _now(self, **fields: Any) -> dict[str, Any]:
        """What every event carries, and ``fields``."""
        return {"pass_": self.passes, "time": time.perf_counter() - self._began, **fields}

    def _space(self) -> Workspace:
        assert self.space is not None, "prepare() makes it"
        return self.space
