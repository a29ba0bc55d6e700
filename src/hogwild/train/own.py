"""What a model answers alone before it is trained: learnt together with the rest, so that it is not forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from hogwild import Engine, Team
from hogwild.schedule import run_together
from hogwild.team.events import Event
from hogwild.train.measure import GREEDY
from hogwild.train.parts import words
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.replays import replay
from hogwild.train.trace import Trace


def own_answers(engine: Engine, passes: int, rehearsal: Rehearsal) -> list[Trace]:
    """The model's greedy answers to ordinary questions, of at most so many tokens each, as traces of one worker."""
    questions: Sequence[str] = words()["ordinary"]["train"]
    runs: list[list[Event]] = [[] for _ in questions]
    teams = [Team(engine, question, 1, budget=passes, sampling=GREEDY) for question in questions]
    run_together(engine, teams, [run.append for run in runs])
    return [replay(run, rehearsal, question) for question, run in zip(questions, runs, strict=True)]
