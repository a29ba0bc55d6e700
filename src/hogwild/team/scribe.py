"""The scribe writes down what the workers sample: where a step ends, what becomes of it, who is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from hogwild.engine import Row
from hogwild.team import events
from hogwild.team.answer import find_answer
from hogwild.team.ask import Play, feed
from hogwild.team.chooser import Chooser
from hogwild.team.events import Event
from hogwild.team.layout import Layout
from hogwild.team.progress import Progress
from hogwild.team.setup import Setup
from hogwild.team.steps import ends_step
from hogwild.team.text import Reader
from hogwild.team.worker import Member
from hogwild.team.workspace import FinishedStep, Workspace

Ends = Literal["", "step", "work", "turn", "call"]


@dataclass(frozen=True)
class Written:
    """A token that a worker wrote: what became readable by it, and whether it ends a step, its work, or its turn.

    ``report`` is what its event says of its probability.
    """

    token: int
    text: str
    ends: Ends
    report: Mapping[str, Any]


class Scribe:
    """Keeps the workspace of one team up to date, and tells what happens."""

    def __init__(self, setup: Setup, layout: Layout, chooser: Chooser, progress: Progress) -> None:
        self._setup = setup
        self._tools = setup.tools
        self._layout = layout
        self._chooser = chooser
        self._progress = progress
        self._unchecked = 0  # tokens since the last question about redundant work

    def write(self, member: Member, row: Row, logits: Tensor, seen: Tensor | None) -> list[Written]:
        """What a member writes in a pass: one token, and one more after each of its drafts that it would have written.

        ``logits`` [1 + drafts, vocab] and ``seen`` are those of its ``row``. Each token is drawn as if those before it
        had been written one by one; what comes after the end of a step or of its work is none.
        """
        drafts, written = list(row.tokens[len(row.tokens) - row.drafts :]), list[Written]()
        for place, one in enumerate(logits):
            hidden = len(drafts) - place
            token = self._chooser.choose(member, one, None if seen is None else seen[: len(seen) - hidden])
            written.append(self._read(member, token, self._chooser.report(one, token)))
            if written[-1].ends or not hidden or token != drafts[place]:
                break
        return written

    def _read(self, member: Member, token: int, report: Mapping[str, Any]) -> Written:
        member.written += 1
        member.tokens.append(token)
        if token in self._setup.codec.end_ids:
            member.pending = []
            return Written(token, self._show(member, whole=True), "turn", report)
        if member.grammar is not None:
            member.grammar.push(token)
        piece = member.reader.push(token)
        step = not self._setup.one_by_one and ends_step(member.body, piece)  # then a part is a step
        member.text += piece
        member.pending = [token]
        if self._tools is not None and (found := self._tools.find(member.body)) is not None:
            member.found = found
            return Written(token, self._show(member), "call", report)
        done = self._chooser.stopped(member) or (member.grammar is not None and member.grammar.done)
        ends: Ends = "work" if done else "step" if step else ""
        return Written(token, self._show(member, whole=ends != ""), ends, report)

    def _show(self, member: Member, whole: bool = False) -> str:
        """What can be read of the current step by now and was not shown. A call, or what may become one, never is.

        Where the ``whole`` step is there, nothing becomes one any more.
        """
        shown = len(member.text)
        if self._tools is not None and not whole:
            shown += self._tools.shown(member.body) - len(member.body)
        text = member.text[member.shown : shown]
        member.shown = max(shown, member.shown)
        return text

    def commit(self, space: Workspace, member: Member, row: Row, written: Sequence[Written]) -> Play[None]:
        """Drop the drafts that a worker has not written, tell what it has, and end its step or its work after that.

        When there is no room for that, the run is over and the step stays unfinished.
        """
        row.own.truncate(len(row.own) - row.drafts + len(written) - 1)  # the last token waits for the next pass
        member.from_private = False
        self._progress.written[member.name] = member.written
        self._unchecked += len(written)
        for one in written:
            if one.ends != "turn" or one.text:
                now = self._progress.now(worker=member.name, step=member.step)
                yield events.Token(**now, token=one.token, text=one.text, **one.report)
        with self._progress.limits():
            if written[-1].ends in ("turn", "work"):
                yield from self._end_work(space, member)
            elif written[-1].ends == "call":
                yield self._call(member)
            elif written[-1].ends:
                yield from self._end_step(space, member)
                yield from self._begin_step(member, written[-1].token)

    def _call(self, member: Member) -> Event:
        """A worker has called a tool: it waits."""
        assert member.found is not None, "a call was found"
        call = self._setup.desk.open(member.name, member.calls, member.found)
        member.waiting, member.calls = call.id, member.calls + 1
        now = self._progress.now(worker=member.name, step=member.step)
        return events.ToolCalled(**now, call=call.id, name=call.found.name, arguments=call.found.arguments)

    def go_on(self, member: Member, result: str, text: str) -> Event:
        """The result of a worker's call is there: ``text`` is what stands between the call and its next words."""
        call, member.waiting, member.found = member.waiting or "", None, None
        member.pending += self._setup.codec.encode(text)
        member.text += text
        member.told = member.shown = len(member.text)
        member.reader = Reader(self._setup.codec, member.pending)
        now = self._progress.now(worker=member.name, step=member.step)
        return events.ToolReturned(**now, call=call, result=result)

    def tell(self, space: Workspace, name: str, text: str) -> Play[None]:
        """Write a text into the history that no worker has written."""
        begin = len(space.history)
        yield from feed([Row([space.prompt, space.history], self._setup.codec.encode(text))])
        space.steps.append(FinishedStep(name, 0, text.strip(), space.history, begin, len(space.history)))

    def remove(self, space: Workspace, member: Member, reason: str) -> Play[None]:
        """A worker leaves: what it has finished stays."""
        if reason != "done":
            self._setup.give_back(member.name)
        self._layout.leave(space, member)
        space.members.remove(member)
        member.free()
        yield events.WorkerLeft(**self._progress.now(worker=member.name), reason=reason)

    def _end_step(self, space: Workspace, member: Member) -> Play[None]:
        """The step moves to where its layout keeps finished ones; it may hold the answer."""
        self._layout.end_step(space, member)
        space.steps[-1].told = member.told
        now = self._progress.now(worker=member.name, step=member.step)
        yield events.StepFinished(**now, text=member.text.strip())
        # What a worker with parts of its own puts into a box answers a part.
        form = "text" if self._setup.parts else self._setup.settings.answer
        answer = find_answer(member.body, form, self._setup.task)
        if answer is not None and self._progress.answer is None:
            self._progress.answer, self._progress.answer_text = answer, member.body.strip()
            self._progress.stop("answer")
            yield events.AnswerFound(**now, answer=answer)

    def _begin_step(self, member: Member, carried: int) -> Play[None]:
        """The next step begins with the token that ended the last one, the worker's name and, when due, the check."""
        member.step += 1
        shares_out = not self._setup.solo and not self._setup.parts  # else nobody can do another's work
        due = shares_out and 0 < self._setup.settings.check_every <= self._unchecked
        check = self._setup.text("check", me=member.name) if due else ""
        self._setup.begin_step(member, [carried], check)
        now = self._progress.now(worker=member.name, step=member.step)
        yield events.StepStarted(**now, text=member.prefix)
        if due:
            self._unchecked = 0
            yield events.CheckAsked(**now)

    def _end_work(self, space: Workspace, member: Member) -> Play[None]:
        """A worker has nothing more to write: its last step is finished. It leaves, unless a part is left for it."""
        more = self._setup.one_by_one and self._setup.take_part(member.name)
        if member.begun or more:
            if member.pending:  # the end of a stop string, which nobody has read yet
                yield from feed([Row(self._layout.view(space, member), member.pending)])
                member.pending = []
            yield from self._end_step(space, member)
        if not more:
            yield from self.remove(space, member, "done")
            return
        yield from self._setup.hand_over(space, member)
        yield events.Planned(**self._progress.now(), parts=self._setup.shares())
        yield events.StepStarted(**self._progress.now(worker=member.name, step=member.step), text=member.prefix)
