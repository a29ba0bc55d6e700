"""What all methods share: their teams are made in the same way, so that only the method differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hogwild.engine import Engine
from hogwild.errors import OptionError
from hogwild.eval.outcome import Question
from hogwild.sampling import Sampling
from hogwild.team.team import Team
from hogwild.team.worker import MAX_WORKERS, NAMES, Worker

PROMPTS = Path(__file__).parent / "prompts"
"""Prompt sets that only methods use: ``noprompt``, and ``joined`` for the finisher of several texts."""

SEED_STRIDE = 1_000_003
"""Between the seeds of workers that must not be alike: no two questions of one evaluation meet by it."""

WARM = 0.7
"""The temperature of workers of which several must differ, where the sampling of the evaluation is greedy."""


def workers_of(question: Question, count: int) -> list[Worker]:
    """So many workers, each with what the problem tells it alone."""
    told = [*question.problem.private, *[""] * count]
    return [Worker(NAMES[number], prompt=told[number] or None) for number in range(count)]


def options(question: Question, budget: int) -> dict[str, Any]:
    """The options of every team that answers the question itself. The last budget needs no snapshot: it is the end."""
    return {
        "answer": question.problem.form,
        "answer_tokens": question.answer_tokens,
        "budget": budget,
        "sampling": question.sampling,
        "seed": question.seed,
    }


def check_alone(name: str, question: Question) -> None:
    """Raise `OptionError` for a problem that only workers who may see each other can do."""
    if question.problem.private or question.problem.answered_by is not None:
        raise OptionError(
            f"problem {question.problem.id!r} tells one worker what another needs, and {name} has no team: "
            "give a method such as hogwild-2"
        )


def alone(engine: Engine, question: Question, number: int = 0, *, ask: bool = True) -> Team:
    """One worker with the model's ordinary output. ``number`` gives it a seed of its own; 0 is that of ``single``."""
    given = options(question, question.budgets[-1]) | {"seed": question.seed + number * SEED_STRIDE}
    snapshots = tuple(question.budgets[:-1]) if ask else ()
    return Team(engine, question.problem.question, 1, snapshots=snapshots, **given)


def warm(sampling: Sampling) -> Sampling:
    """Sampling by which workers with other seeds write other things: greedy ones would all be alike."""
    return replace(sampling, temperature=WARM) if sampling.greedy else sampling


def count_of(name: str, words: Sequence[str], least: int = 1) -> int:
    """The number of workers in a method's name. Raises `OptionError` unless it is the only word, and can be."""
    if len(words) != 1 or not words[0].isdecimal() or not least <= int(words[0]) <= MAX_WORKERS:
        kind = name.partition("-")[0]
        raise OptionError(
            f"method {name!r} needs a number from {least} to {MAX_WORKERS}, such as {kind}-{max(least, 2)}"
        )
    return int(words[0])
