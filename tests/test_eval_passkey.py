"""The passkey: what each worker is told, and whose text counts."""

from __future__ import annotations

import pytest

from hogwild.errors import OptionError
from hogwild.eval.problem import Source
from hogwild.eval.tasks import find_task


def test_one_alone_knows_the_code() -> None:
    for problem in find_task("passkey").load(Source(limit=50)).problems:
        assert len(problem.answer) == 5
        assert problem.answer in problem.private[0]
        assert len(problem.private) == 1  # Bob is told nothing
        assert problem.answer not in problem.question + "".join(problem.parts)
        assert (problem.form, problem.answered_by, len(problem.parts)) == ("text", 1, 2)


def test_same_again_and_kept_ones_are_others() -> None:
    task = find_task("passkey")
    assert task.load(Source(limit=9)) == task.load(Source(limit=9))
    rest, kept = task.load(Source()).problems, task.load(Source(kept=True)).problems
    assert len({problem.answer for problem in rest}) > 190
    with pytest.raises(OptionError, match="passkey is generated and has no end: leave --whole out"):
        task.load(Source(whole=True))
    assert not {problem.private for problem in rest} & {problem.private for problem in kept}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("January, February\nThe code is {}.", "right"),
        ("{}", "right"),
        ("It is {}, and not 00000.", "right"),
        ("It is 00000. No, {}.", "wrong"),
        ("It is 1{}.", "nothing"),
        ("I do not know.", "nothing"),
        (None, "nothing"),
    ],
)
def test_the_first_code_counts(said: str | None, status: str) -> None:
    task = find_task("passkey")
    problem = task.load(Source(limit=1)).problems[0]
    told = None if said is None else said.format(problem.answer)
    assert task.score(problem, told, problem.answer).status == status
    spaced = " ".join(problem.answer)
    assert task.score(problem, f"The code is {spaced}.", "").status == "right"
