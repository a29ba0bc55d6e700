"""The methods: ours, its ablations and the baselines, all with the same finisher and the same count of passes."""

from __future__ import annotations

from collections.abc import Callable

from hogwild.errors import OptionError
from hogwild.eval.methods import hogwild, independent, single, skeleton, vote
from hogwild.eval.outcome import Method

__all__ = ["find_method", "list_methods"]

_MAKERS: dict[str, Callable[[str, list[str]], Method]] = {
    "single": single.make,
    "vote": vote.make,
    "independent": independent.make,
    "skeleton": skeleton.make,
    "hogwild": hogwild.make,
}


def find_method(name: str) -> Method:
    """The method of a name, such as ``hogwild-2-interleaved-list``. Raises `OptionError` for what is none."""
    kind, *words = name.split("-")
    if kind not in _MAKERS:
        known = ", ".join(pattern for pattern, _ in list_methods())
        raise OptionError(f"method {name!r} is unknown: give one of {known}")
    return _MAKERS[kind](name, words)


def list_methods() -> list[tuple[str, str]]:
    """Each pattern of names, and in one line what it is."""
    return [
        ("single", "one worker, ordinary output; the finisher is asked at each budget"),
        ("single-nofinish", "the same, and only what it wrote itself counts"),
        ("vote-N", "the answer that most of N workers give, who know nothing of each other"),
        ("independent-N", "N workers who know nothing of each other; one finisher reads all that they wrote"),
        ("skeleton", "one lists the points of the answer, all are written out at the same time"),
        ("skeleton-W", "the same, W points at a time"),
        ("hogwild-N", "N workers over one cache; with any of the suffixes below"),
        ("  -contiguous -interleaved -combined", "the layout (default combined)"),
        ("  -list -plan", "who does what: the problem's parts dealt out, or those of a first short plan"),
        ("  -each", "with either: parts are handed out one by one, to whoever is free"),
        (
            "  -examples -code -short -steps",
            "another packaged prompt set; with steps, workers think before each answer",
        ),
        ("  -noprompt -blind", "ablations: no word about working together; nobody sees the others"),
        ("  -nofinish -nocheck", "without the finisher; without questions about redundant work"),
    ]
