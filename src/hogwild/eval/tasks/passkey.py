"""One worker alone is told a code, another one is asked for it: only who sees the first one write can know it.

Alice (the first worker) is told the code privately and tells it; Bob (the second) first writes the months of the year,
so that the code is there when he needs it, and then says the code. **Only Bob's own text is read**
(`Problem.answered_by`): the finisher, which reads everything, would know the code even where Bob cannot see it. The
code that he names first counts. The task names no other code: a model of 1.5B took such a one, every time.

Chance: a code has five digits, so a guess is right once in 90,000 times; without visibility (``hogwild-2-blind-list``)
the score is 0 unless something is wrong. Deal the parts out (``-list``): a model of 1.5B keeps to its part only then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.eval.tasks.drawn import draw_problems

_THINGS = ("safe", "locker", "gate", "suitcase", "bike lock", "garage", "cellar", "strongbox")
_CODE = re.compile(r"(?<![0-9.])[0-9]{5}(?![0-9])")


@dataclass(frozen=True)
class _Passkey:
    """See `hogwild.eval.problem.Task`."""

    name: str

    @property
    def answer_tokens(self) -> int | None:
        return None

    def load(self, source: Source) -> Loaded:
        return draw_problems("passkey", _make, source)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        """The first code in the text of who was asked; digits may stand apart, as in ``1 2 3 4 5`` or ``12-345``."""
        said = re.sub(r"(?<=[0-9])[ ,-]{1,2}(?=[0-9])", "", answer or "")
        codes = _CODE.findall(said)
        if not codes:
            return Score(0.0, "nothing")
        return Score(1.0, "right") if codes[0] == problem.answer else Score(0.0, "wrong")


def passkey(name: str) -> _Passkey:
    """The task."""
    return _Passkey(name)


def _make(name: str, rng: Random) -> Problem:
    thing, code = rng.choice(_THINGS), str(rng.randrange(10_000, 100_000))
    question = f"Alice knows the code of the {thing}, and Bob does not."
    parts = (
        f"Tell Bob the code of the {thing}.",
        "Write down the twelve months of the year in one line, and below it, in a line that begins with 'Code:', "
        f"the code of the {thing} that Alice has told.",
    )
    private = (f"The code of the {thing} is {code}.",)
    return Problem(name, question, code, "text", parts, private, answered_by=1)
