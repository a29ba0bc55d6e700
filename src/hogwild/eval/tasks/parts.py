r"""Generated tasks of several parts. What is right is known by construction, and a seed gives the same ones again.

    parts-independent-K   K small questions of different kinds, none of which needs another
    parts-chain-K         each part needs the result of the one before: nothing is gained by two workers
    parts-search-K        K sums, of which exactly one is a multiple of 10: who finds it ends the run
    parts-trap-K          the first part is much longer than the others, and all are told to begin with it

``parts`` alone is ``parts-independent-6``. All answers stand in one box, and the score is the share that is right; of a
search it is all or nothing, and one guess in about ten is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hogwild.errors import OptionError
from hogwild.eval.listed import right_items, same_item
from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.eval.tasks.drawn import draw_problems
from hogwild.eval.tasks.pieces import Piece, branches, chain, draw, long_sum
from hogwild.team.settings import ANSWER_TOKENS

FEWEST, MOST = 2, 12
"""Parts of a task."""

_TOKENS_EACH = 20  # of an answer in the box: five words with hyphens
_EACH_LINE = "Answer each in one short line that begins with its number."


@dataclass(frozen=True)
class _Parts:
    """See `hogwild.eval.problem.Task`."""

    name: str
    kind: str
    count: int

    @property
    def answer_tokens(self) -> int:
        return (
            ANSWER_TOKENS["boxed"] if self.kind == "search" else max(ANSWER_TOKENS["boxed"], _TOKENS_EACH * self.count)
        )

    def load(self, source: Source) -> Loaded:
        return draw_problems(f"parts-{self.kind}-{self.count}", self._make, source)

    def _make(self, name: str, rng: Random) -> Problem:
        if self.kind == "search":
            return _search(name, *branches(rng, self.count))
        if self.kind == "chain":
            return _joined(name, f"These {self.count} parts build on each other.", chain(rng, self.count))
        if self.kind == "trap":
            pieces = [long_sum(rng), *draw(rng, self.count - 1)]
            return _joined(name, f"Here are {self.count} parts. Part 1 is the longest: begin with it.", pieces)
        return _joined(name, f"Here are {self.count} questions.", draw(rng, self.count))

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        if self.kind == "search":
            if answer is None or not answer.strip():
                return Score(0.0, "nothing")
            return Score(1.0, "right") if same_item(answer, problem.answer) else Score(0.0, "wrong")
        parts = right_items(answer, text, problem.meta["parts"])
        if parts is None:
            return Score(0.0, "nothing", (False,) * self.count)
        share = sum(parts) / len(parts)
        return Score(share, "right" if share == 1 else "partly" if share else "wrong", parts)


def parts(name: str) -> _Parts:
    """The task of this name. Raises `OptionError` for too few or too many parts."""
    found = re.fullmatch(r"parts(?:-(?P<kind>independent|chain|search|trap))?(?:-(?P<count>[0-9]{1,4}))?", name)
    count = int(found["count"] or 6) if found else 0
    if found is None or not FEWEST <= count <= MOST:
        raise OptionError(f"task {name!r}: give {FEWEST} to {MOST} parts, as in parts-independent-6")
    return _Parts(name, found["kind"] or "independent", count)


def _joined(name: str, lead: str, pieces: Sequence[Piece]) -> Problem:
    asked, answers = [question for question, _ in pieces], [answer for _, answer in pieces]
    box = ", ".join(f"a{place}" for place in range(1, len(pieces) + 1))
    question = (
        f"{lead} {_EACH_LINE} Then give all {len(pieces)} answers in one box, in this order, with commas between them: "
        f"\\boxed{{{box}}}.\n\n{_numbered(asked)}"
    )
    return Problem(name, question, ", ".join(answers), "boxed", asked, meta={"parts": answers})


def _search(name: str, pieces: Sequence[Piece], right: str) -> Problem:
    sums, results = [asked for asked, _ in pieces], [result for _, result in pieces]
    question = (
        "Exactly one of these sums comes to a multiple of 10. Work them out one after the other until you find it, and "
        f"give what it comes to in a box: \\boxed{{...}}.\n\n{_numbered(sums)}"
    )
    asked = [
        f"Work out {each}. If it is a multiple of 10, it is the answer to the whole: write it in a box."
        for each in sums
    ]
    return Problem(name, question, right, "boxed", asked, meta={"parts": results})


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1))
