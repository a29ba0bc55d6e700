"""The names of methods, and what an evaluation says to a wrong one."""

from __future__ import annotations

import pytest

from fakes import tiny_team_engine
from hogwild import Sampling
from hogwild.errors import OptionError
from hogwild.eval.methods import find_method, list_methods
from hogwild.eval.methods.hogwild import Hogwild
from hogwild.eval.outcome import Question
from hogwild.eval.problem import Problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("solo", "give one of single"),
        ("single-2", "give single or single-nofinish"),
        ("vote", "needs a number from 2 to 16, such as vote-2"),
        ("vote-1", "from 2 to 16"),
        ("independent-17", "from 2 to 16"),
        ("skeleton-0", "from 1 to 16"),
        ("hogwild", "such as hogwild-2"),
        ("hogwild-x", "from 1 to 16"),
        ("hogwild-2-fast", "'fast' is unknown"),
        ("hogwild-2-combined-blind", "sets layout twice"),
        ("hogwild-2-list-plan", "sets assign twice"),
        ("hogwild-2-code-noprompt", "sets prompt twice"),
    ],
)
def test_a_name_that_is_none_says_what_there_is(name: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        find_method(name)


def test_suffixes_come_in_any_order() -> None:
    one = find_method("hogwild-4-interleaved-plan-examples-nocheck-nofinish")
    other = find_method("hogwild-4-nofinish-examples-nocheck-plan-interleaved")
    assert isinstance(one, Hogwild)
    assert isinstance(other, Hogwild)
    assert vars(one) | {"name": ""} == vars(other) | {"name": ""}
    asked = Question(Problem("one", "How many legs?", "8", "boxed"), [4, 8], 0, Sampling(temperature=0))
    (team,) = next(one.run(tiny_team_engine(), asked))
    assert (team.layout.name, team.assign, team.settings.check_every) == ("interleaved", "plan", 0)


def test_every_pattern_of_the_list_is_a_method() -> None:
    patterns = [pattern for pattern, _ in list_methods() if not pattern.startswith(" ")]
    for pattern in patterns:
        assert find_method(pattern.replace("N", "2").replace("W", "2")).name
    suffixes = " ".join(pattern for pattern, _ in list_methods() if pattern.startswith(" ")).split()
    for suffix in suffixes:
        assert find_method(f"hogwild-2{suffix}").name == f"hogwild-2{suffix}"
