"""Simulated teams: workers who act only on what they could see in that very pass, through the real machinery of teams.

A worker that is free takes the next part that nobody has taken. They begin in turn, so each sees what the one before
has taken. Whoever finds that another one has taken the same steps
aside, and that it took it is not learnt. Who needs a result that is not there yet waits, with dots. Who finds nothing
left ends its turn, and so leaves the team; where the task asks for a final answer, the last one states it, or the first
of several.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from hogwild import Team, Worker
from hogwild.team.record import Record
from hogwild.team.text import Codec
from hogwild.train.recorder import Recorder
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.tasks import TAKEN, TeamTask
from hogwild.train.trace import Trace

LONGEST_RUN = 2048
"""Passes after which a simulated team is stopped; it ends long before."""

SHUFFLED_CLASH = 0.3
"""How likely it is, at each choice, that the clash of a run happens there."""

Stage = Literal["free", "called", "waiting", "left"]


@dataclass
class _Mark:
    """Something that a worker has written, and since which pass others can read it: from the one after ``time`` on."""

    worker: int
    time: float = math.inf
    end: float = math.inf  # the pass in which its step ended


@dataclass
class _Hand:
    """What a worker is about to write: tokens, and what happens once they are there."""

    queue: deque[tuple[int, Callable[[int], None] | None]] = field(default_factory=deque)
    stage: Stage = "free"
    place: int = -1  # of the part that it is at
    mark: _Mark | None = None  # of that part
    label: list[int] = field(default_factory=list)  # where the tokens of the step so far are learnt


class Players(Record):
    """All workers of a simulated team, in the place of what they would sample."""

    def __init__(self, task: TeamTask, team: Team, recorder: Recorder) -> None:
        super().__init__()
        self._task = task
        self._team = team
        self._recorder = recorder
        self._codec: Codec = team.codec
        self._random = random.Random(task.seed)
        self._hands: dict[int, _Hand] = {}
        self._claims: list[list[_Mark]] = [[] for _ in task.parts]
        self._done: list[list[_Mark]] = [[] for _ in task.parts]
        self._final = list[_Mark]()
        self._clash = task.clash
        self._finisher = list[int]()
        if task.known is not None:
            for marks in (self._claims, self._done):
                marks[task.known].append(_Mark(-1, -1, -1))

    # What the team asks for.

    def draw(self, writer: Hashable, index: int, sample: Callable[[], int]) -> int:
        """The next token of a worker or of the finisher."""
        self.tick()
        if not isinstance(writer, int):
            token = self._finish(index)
            self._recorder.drawn(token)
            return token
        hand = self._hands.setdefault(writer, _Hand())
        if not hand.queue:
            self._go_on(writer, hand)
        token, then = hand.queue.popleft()
        hand.label.append(self._recorder.drawn(token))
        if then is not None:
            then(self._team.passes)
        return token

    def _finish(self, index: int) -> int:
        """The finisher puts the answers together, or completes the box."""
        task = self._task
        if index == 0:
            lines = "\n".join(map(task.line, range(len(task.parts))))
            text = lines if task.asked is None else f"{task.parts[task.asked].answer}}}"
            self._finisher = [*self._codec.encode(text), self._end]
        return self._finisher[index]

    @property
    def _end(self) -> int:
        own = self._codec.tokenizer.eos_token_id
        return self._codec.end_ids[0] if own is None else int(own)

    # What can be seen.

    def _sees(self, me: int, mark: _Mark) -> bool:
        hidden = self._team.layout.name == "interleaved" and mark.worker != me
        return (mark.end if hidden else mark.time) < self._team.passes

    def _any(self, me: int, marks: list[_Mark]) -> bool:
        return any(self._sees(me, mark) for mark in marks)

    def _choosing_before(self, me: int) -> int:
        """How many others have begun a step whose label cannot be read yet: what comes next is theirs.

        Where steps are hidden until they end, nobody counts on that.
        """
        if self._team.layout.name == "interleaved":
            return 0
        others = (hand for other, hand in self._hands.items() if other != me)
        return sum(hand.mark is not None and not self._sees(me, hand.mark) for hand in others)

    # What is written.

    def _say(self, hand: _Hand, text: str, then: Callable[[int], None] | None = None) -> None:
        """Write a text; ``then`` happens with its last token."""
        tokens = self._codec.encode(text)
        hand.queue.extend((token, None) for token in tokens[:-1])
        hand.queue.append((tokens[-1], then))

    def _go_on(self, me: int, hand: _Hand) -> None:
        if hand.stage == "free":
            hand.label = []
            self._choose(me, hand)
        else:
            self._answer(me, hand)

    def _choose(self, me: int, hand: _Hand) -> None:
        """A free worker looks for something to do."""
        places = range(len(self._task.parts))
        open_ = [place for place in places if not self._any(me, self._claims[place])]
        taken = [place for place in places if place not in open_ and not self._any(me, self._done[place])]
        before = self._choosing_before(me)
        if self._clash and taken and self._random.random() < SHUFFLED_CLASH:
            self._clash = False
            self._call(me, hand, self._random.choice(taken))
        elif before < len(open_):
            self._call(me, hand, self._order(me, open_)[before])
        elif self._states_final(me, busy=bool(taken or open_), before=before):
            self._state_final(me, hand)
        else:
            hand.stage = "left"
            hand.queue.append((self._end, None))

    def _order(self, me: int, places: list[int]) -> list[int]:
        """In their order, but what can be done at once comes first.

        Where nobody sees what others are at, each begins elsewhere.
        """
        ordered = sorted(places, key=lambda place: not self._is_ready(me, place))
        if self._team.layout.name != "interleaved":
            return ordered
        first = me * len(ordered) // max(len(self._team.setup.names), 1)
        return ordered[first:] + ordered[:first]

    def _is_ready(self, me: int, place: int) -> bool:
        needs = self._task.parts[place].needs
        return needs is None or self._any(me, self._done[needs])

    def _call(self, me: int, hand: _Hand, place: int) -> None:
        """Write the label of a part: from its last token on others know who has it."""
        mark = _Mark(me)
        self._claims[place].append(mark)
        hand.place, hand.stage, hand.mark = place, "called", mark

        def called(now: int) -> None:
            mark.time = now

        self._say(hand, self._task.called(place), called)

    def _answer(self, me: int, hand: _Hand) -> None:
        """The label is there: answer, wait, or step aside."""
        mine = hand.mark
        assert mine is not None, "it was called"
        first = [mark for mark in self._claims[hand.place] if (mark.time, mark.worker) < (mine.time, me)]
        if self._any(me, self._done[hand.place]) or self._any(me, [mark for mark in first if mark.worker != me]):
            self._claims[hand.place].remove(mine)
            self._recorder.unlearn(hand.label)
            self._say(hand, f" {TAKEN}.\n\n", lambda now: self._be_free(hand))
        elif not self._is_ready(me, hand.place):
            hand.stage = "waiting"
            self._say(hand, " ...")
        else:
            done = _Mark(me)
            self._done[hand.place].append(done)

            def ended(now: int) -> None:
                done.time = now
                self._ended(mine, now)
                self._ended(done, now)
                self._be_free(hand)

            self._say(hand, f" {self._task.parts[hand.place].sentence}.\n\n", ended)

    def _states_final(self, me: int, *, busy: bool, before: int) -> bool:
        """Whether it is this worker's turn to state the final answer: all is done, and nobody else does it."""
        return self._task.asked is not None and not busy and not before and not self._any(me, self._final)

    def _state_final(self, me: int, hand: _Hand) -> None:
        assert self._task.asked is not None, "only then somebody states it"
        mark = _Mark(me, self._team.passes)
        self._final.append(mark)

        def ended(now: int) -> None:
            self._ended(mark, now)
            self._be_free(hand)

        self._say(hand, f"\\boxed{{{self._task.parts[self._task.asked].answer}}}.\n\n", ended)

    @staticmethod
    def _ended(mark: _Mark | None, now: int) -> None:
        if mark is not None:
            mark.end = now

    @staticmethod
    def _be_free(hand: _Hand) -> None:
        hand.stage = "free"


def simulate(task: TeamTask, engine: Rehearsal) -> Trace:
    """Let a simulated team work on a task; what each of its workers saw, and what is to be learnt from it."""
    with Recorder(engine) as recorder:
        team = Team(engine, task.text, **task.options, budget=LONGEST_RUN, share_prompts=False)
        team.setup.record = Players(task, team, recorder)
        if task.known is not None:
            team.say(task.line(task.known))
        waits = bool(task.late)
        for _ in team.run():
            if team.reason and not task.finished:
                break
            if waits and team.passes >= task.late and not team.reason:
                team.join(Worker(task.names[-1]))
                waits = False
        return recorder.trace(
            {
                "seed": task.seed,
                "workers": len(task.names),
                "layout": team.layout.name,
                "parts": len(task.parts),
                "passes": team.passes,
                "reason": team.reason,
            }
        )
