"""What a task is: problems with answers that are known, and the score of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from hogwild.errors import OptionError
from hogwild.team.answer import AnswerForm

Status = Literal["right", "partly", "wrong", "nothing"]
"""``nothing``: no answer could be read. It scores 0 and is counted apart."""


@dataclass(frozen=True)
class Problem:
    """One question. All of it is JSON.

    Attributes:
        id: unique in its task, and the same in every load.
        question: what is asked, in full.
        answer: the right answer, as text.
        form: the form of the answer; with ``boxed`` or ``number`` a worker that writes it ends the run.
        parts: the sub-tasks, each complete in itself, where there are some: what ``assign`` deals out.
        private: what one worker alone is told, in order of the workers; shorter than the team is well.
        answered_by: the worker, counted from 0, whose own text alone is the answer (``answer`` and ``text`` of a
            reading), never another's or the finisher's; None: the team's answer as usual.
        meta: what the score needs besides, such as the tests of a program or the answer of each part.
    """

    id: str
    question: str
    answer: str
    form: AnswerForm
    parts: Sequence[str] = ()
    private: Sequence[str] = ()
    answered_by: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """``value`` from 0 to 1; ``parts``: of each part, whether it is right, where a problem has parts."""

    value: float
    status: Status
    parts: Sequence[bool] = ()


@dataclass(frozen=True)
class Source:
    """Where problems come from. Raises `OptionError` for ``kept`` and ``whole`` together.

    Attributes:
        folder: files of data sets (``--data``, ``HOGWILD_DATA``), or None for the hub.
        limit: at most so many problems, the first ones in the task's fixed order; None for all.
        seed: of what is generated or drawn together.
        kept: take the problems that are kept aside: none of them is ever among the others (of generated tasks, another
            stream of random numbers; of a data set, its last quarter).
        whole: take all problems of a data set, those that are kept aside as well.
        run_code: the user allows that programs of the model run here.
    """

    folder: Path | None = None
    limit: int | None = None
    seed: int = 0
    kept: bool = False
    run_code: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if self.kept and self.whole:
            raise OptionError("--kept and --whole cannot be had together: the whole holds what is kept aside, too")


@dataclass(frozen=True)
class Loaded:
    """Problems, and where they came from. ``checksum`` is the SHA-256 of the file, or of the problems as JSON."""

    problems: Sequence[Problem]
    origin: str
    checksum: str


class Task(Protocol):
    """A kind of problem.

    Attributes: ``name`` as the user gave it, like ``gsm8k-x5``; ``answer_tokens`` of the finisher, None for the form's
    default.
    """

    @property
    def name(self) -> str:
        """As the user gave it."""

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens that the finisher writes; None for the default of the answer's form."""

    def load(self, source: Source) -> Loaded:
        """The problems. Raises `HogwildError` (one line, with the fix) where there are none."""

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        """The score of an answer; ``text`` is all that was shown as the answer. Never raises for what a model wrote."""
