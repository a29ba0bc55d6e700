"""``hogwild-N``: a team that shares its cache, in each layout, with each way to share out the work and each prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hogwild.engine import Engine
from hogwild.errors import OptionError
from hogwild.eval.methods.blind import Blind
from hogwild.eval.methods.single import one_team
from hogwild.eval.methods.teams import PROMPTS, count_of, options, workers_of
from hogwild.eval.outcome import Question, Run
from hogwild.team.layout import LAYOUTS, Layout
from hogwild.team.prompts import packaged_sets
from hogwild.team.team import Team

ASSIGNS = ("list", "plan")


@dataclass(frozen=True)
class Hogwild:
    """A team of workers.

    Attributes: ``assign`` is ``none``, ``list`` (the problem's parts are dealt out) or ``plan``; ``each`` hands parts
    out one by one, to whoever is free; ``check`` is whether workers are asked about redundant work; without ``finish``,
    only what they wrote themselves counts.
    """

    name: str
    workers: int
    layout: str | Layout = "combined"
    assign: str = "none"
    prompt: str | Path = "default"
    each: bool = False
    check: bool = True
    finish: bool = True

    def run(self, engine: Engine, question: Question) -> Run:
        """See `Method`."""
        return one_team(self._team(engine, question), question, finish=self.finish)

    def _team(self, engine: Engine, question: Question) -> Team:
        problem, given = question.problem, options(question, question.budgets[-1])
        if self.assign == "list" and len(problem.parts) < self.workers:
            raise OptionError(
                f"method {self.name!r} deals parts out, and problem {problem.id!r} has {len(problem.parts)} for "
                f"{self.workers} workers: take fewer workers, or leave -list out"
            )
        if problem.answered_by is not None and problem.answered_by >= self.workers:
            raise OptionError(
                f"problem {problem.id!r} is answered by worker {problem.answered_by + 1}, and {self.name} has "
                f"{self.workers}: take more workers"
            )
        asked = self.finish and problem.answered_by is None
        more: dict[str, Any] = {} if self.check else {"check_every": 0}
        return Team(
            engine,
            problem.question,
            workers_of(question, self.workers),
            layout=self.layout,
            assign=list(problem.parts) if self.assign == "list" else self.assign,
            prompt=self.prompt,
            snapshots=tuple(question.budgets[:-1]) if asked else (),
            one_by_one=self.each,
            **given,
            **more,
        )


def make(name: str, words: list[str]) -> Hogwild:
    """``hogwild-N`` with its suffixes, in any order. Raises `OptionError` for an unknown one, or two of a kind."""
    count, chosen = count_of(name, words[:1]), dict[str, Any]()
    for word in words[1:]:
        field, value = suffix(name, word)
        if field in chosen:
            raise OptionError(f"method {name!r} sets {field} twice, the second time by {word!r}: leave one of them out")
        chosen[field] = value
    return Hogwild(name, count, **chosen)


def suffix(name: str, word: str) -> tuple[str, Any]:
    """The field of `Hogwild` that a suffix sets, and to what."""
    prompts: dict[str, str | Path] = {one: one for one in packaged_sets()} | {"noprompt": PROMPTS / "noprompt"}
    if word in LAYOUTS:
        return "layout", word
    if word == "blind":
        return "layout", Blind()
    if word in ASSIGNS:
        return "assign", word
    if word in prompts:
        return "prompt", prompts[word]
    if word == "each":
        return word, True
    if word in ("nocheck", "nofinish"):
        return word.removeprefix("no"), False
    known = [*LAYOUTS, "blind", *ASSIGNS, "each", *prompts, "nocheck", "nofinish"]
    raise OptionError(f"method {name!r}: {word!r} is unknown, give one of {', '.join(known)}")
