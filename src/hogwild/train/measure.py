"""How well a model works in a team: parts done once, twice, rightly, and its passes, against one worker's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from hogwild import Engine, Sampling, Team, Worker
from hogwild.schedule import run_together
from hogwild.team.events import Event, Finished, StepFinished, StepStarted
from hogwild.train.tasks import TeamTask

PATIENCE = 2
"""A run may take so many times the passes that one worker would need who writes nothing but the answers."""

TOGETHER = 8
"""Teams that share passes: where attention is plain PyTorch, its scores grow with the square of their number."""

GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True)
class Figures:
    """What became of some tasks.

    Attributes:
        tasks, parts: how many there were; parts that were in the history from the beginning do not count.
        once, twice: parts that were answered once, and more often.
        passes: of all teams together.
        best: the same if the answers had been dealt out in the best way and nothing else written.
        ended: tasks at whose end the workers had left or stated an answer, in time.
        right_at: the pass in which each right first answer was written.
    """

    tasks: int = 0
    parts: int = 0
    once: int = 0
    twice: int = 0
    passes: int = 0
    best: int = 0
    ended: int = 0
    right_at: tuple[int, ...] = ()

    @property
    def right(self) -> int:
        """Parts whose first answer is right."""
        return len(self.right_at)

    def __add__(self, other: Figures) -> Figures:
        ours, theirs = asdict(self), asdict(other)
        return Figures(**{name: ours[name] + theirs[name] for name in ours})


@dataclass(frozen=True)
class Comparison:
    """A team, and one worker alone with the same weights at the same tasks."""

    team: Figures
    one: Figures

    def as_dict(self) -> dict[str, float]:
        """For a log: shares of parts, and passes as shares of those of one worker and of the best schedule."""
        parts, alone = max(self.team.parts, 1), max(self.one.parts, 1)
        return {
            "tasks": self.team.tasks,
            "once": round(self.team.once / parts, 4),
            "twice": round(self.team.twice / parts, 4),
            "right": round(self.team.right / parts, 4),
            "right_one": round(self.one.right / alone, 4),
            "passes": round(self.team.passes / max(self.team.tasks, 1), 2),
            "passes_one": round(self.one.passes / max(self.one.tasks, 1), 2),
            "passes_best": round(self.team.best / max(self.team.tasks, 1), 2),
            "ended": round(self.team.ended / max(self.team.tasks, 1), 4),
        }


def compare(engine: Engine, tasks: Sequence[TeamTask]) -> Comparison:
    """Let teams do tasks, and one worker the same ones, all greedily."""
    alone = [replace(task, names=task.names[:1], known=None, late=0, layout="contiguous") for task in tasks]
    figures = measure(engine, [*tasks, *alone])
    return Comparison(sum(figures[: len(tasks)], Figures()), sum(figures[len(tasks) :], Figures()))


def measure(engine: Engine, tasks: Sequence[TeamTask]) -> list[Figures]:
    """Let a team do each task, greedily; several of them share their passes."""
    runs = [Run(engine, task) for task in tasks]
    for first in range(0, len(runs), TOGETHER):
        group = runs[first : first + TOGETHER]
        run_together(engine, [run.team for run in group], [run.read for run in group])
    return [run.figures() for run in runs]


class Run:
    """One team at one task, as its events tell. Attributes: ``team``, which has not begun."""

    def __init__(self, engine: Engine, task: TeamTask) -> None:
        lengths = [len(engine_tokens(engine, task.line(place) + "\n\n")) for place in range(len(task.parts))]
        if task.known is not None:
            lengths.pop(task.known)
        self._task = task
        self._best = max(*lengths, -(-sum(lengths) // len(task.names))) if len(lengths) > 1 else sum(lengths)
        self._answers = list[tuple[int, str, int]]()  # part, answer, pass
        self._prefix: dict[str, str] = {}
        self._passes, self._ended = 0, False
        self._late = task.late
        budget = PATIENCE * (sum(lengths) + 16)
        self.team = Team(engine, task.text, **task.options, budget=budget, sampling=GREEDY, answer_tokens=1)
        if task.known is not None:
            self.team.say(task.line(task.known))

    def read(self, event: Event) -> None:
        """An event of the team."""
        if self._late and event.pass_ >= self._late and not self.team.reason:
            self._late = 0
            self.team.join(Worker(self._task.names[-1]))
        if isinstance(event, StepStarted):
            self._prefix[event.worker] = event.text
        elif isinstance(event, StepFinished):
            text = event.text.removeprefix(self._prefix.get(event.worker, "").strip())
            found = filter(None, map(self._task.read, text.split("\n")))
            self._answers.extend((*answer, event.pass_) for answer in found)
        elif isinstance(event, Finished):
            self._passes, self._ended = event.passes, event.reason in ("answer", "done")

    def figures(self) -> Figures:
        """What became of it."""
        task, first, count = self._task, dict[int, tuple[str, int]](), Counter[int]()
        for place, answer, at in self._answers:
            if place != task.known:
                first.setdefault(place, (answer, at))
            count[place] += 1
        right_at = [at for place, (answer, at) in first.items() if task.right(place, answer)]
        wanted = [place for place in range(len(task.parts)) if place != task.known]
        again = task.known is not None and count[task.known] > 0  # somebody did what was there already
        return Figures(
            tasks=1,
            parts=len(wanted),
            once=sum(count[place] == 1 for place in wanted),
            twice=sum(count[place] > 1 for place in wanted) + again,
            passes=self._passes or self.team.passes,
            best=self._best,
            ended=int(self._ended),
            right_at=tuple(right_at),
        )


def engine_tokens(engine: Engine, text: str) -> list[int]:
    """The tokens of a text, by the engine's tokenizer."""
    tokens: list[int] = engine.tokenizer.encode(text, add_special_tokens=False) if engine.tokenizer else []
    return tokens
