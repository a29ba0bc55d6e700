"""How a team worked together, measured on what it wrote, without a judge.

What the task itself says is no redundancy, and the prefixes of steps, which nobody wrote, count for nothing.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from hogwild.bench.report import Table
from hogwild.eval.traces import Traced
from hogwild.eval.writing import WORD, Step, Writing, read_writing
from hogwild.team.events import Event

GRAM = 4
"""Words in an n-gram. Shorter ones are idioms that any two texts share."""

SQUEEZED = 40
"""Bytes of the shortest step that is compressed: zlib has a frame of its own, which weighs on short ones."""

_WINDOW = 32 * 1024  # as far as zlib looks back
_PART = re.compile(
    r"^[\s>#*_-]*(?:part|question|problem|sub-?task|task)?\s*\**(?P<number>\d{1,3})\**\s*[.):](?![\d])\**\s*(?P<text>\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_HANDED = re.compile(r"(?:\w+ )?(?P<number>\d{1,3})[.:)]")  # the prefix of a step that is one part
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Share:
    """One worker's share in a run.

    Attributes:
        tokens: that it wrote.
        repeated: the share of its word n-grams (4 words, within a step, those of the task left out) that another
            worker had completed before it, 0 to 1. None if it has none.
        explained: by how much what the others had written before the end of each of its steps shortens the step for
            zlib, beyond what the task does: ``1 - size(step, after task and others) / size(step, after task)``, the
            mean over its steps of 40 bytes or more by their size, 0 to 1. Near 0.1 where texts of one language have
            nothing but their common words in common, near 1 for a copy. None if it has no such step.
        parts: the parts that it answered first: the lines ``3. ...`` or ``Part 3: ...`` of what it wrote, and where
            parts are handed out one by one, the step of each.
        names: how often it called each other worker by name.
        checks: how often it was asked whether its work is redundant. ``yes``, ``no``: how often its next word said so.
        fresh: of the different words of four letters or more in the steps after a check, the share that its step before
            did not have. ``fresh_otherwise``: the same for its other steps. If checks turn a worker to something
            else, the first is larger. None where there are no such steps.
    """

    worker: str
    tokens: int
    repeated: float | None
    explained: float | None
    parts: tuple[int, ...]
    names: Mapping[str, int]
    checks: int
    yes: int
    no: int
    fresh: float | None
    fresh_otherwise: float | None


@dataclass(frozen=True)
class Collaboration:
    """A run as a whole: the ``shares``; of so many ``parts`` (0: unknown), those done ``twice`` (or more often, each
    time by another worker) and those ``undone``, which nobody answered.
    """

    shares: tuple[Share, ...]
    parts: int
    twice: tuple[int, ...]
    undone: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def measure(*traces: Sequence[Event], parts: int = 0) -> Collaboration:
    """Measure one team, or several together as if they were one, to compare with: independent workers.

    ``parts``: how many parts the task has; by default those that were dealt out. Lines with another number are no
    answers, and with no parts at all none is.
    """
    writing = read_writing(traces)
    parts = parts or writing.parts
    answered = _answers(writing, parts)
    doers = {part: {worker for _, worker in by} for part, by in answered.items()}
    repeated, first = _repeated(writing), {part: min(by)[1] for part, by in answered.items()}
    shares = tuple(
        Share(
            worker=worker,
            tokens=sum(step.tokens for step in writing.of(worker)),
            repeated=repeated.get(worker),
            explained=_explained(writing, worker),
            parts=tuple(sorted(part for part, by in first.items() if by == worker)),
            names=_names(writing, worker),
            **_checks(writing.of(worker)),
        )
        for worker in writing.workers
    )
    twice = tuple(sorted(part for part, by in doers.items() if len(by) > 1))
    return Collaboration(shares, parts, twice, tuple(part for part in range(1, parts + 1) if part not in doers))


def by_method(found: Iterable[Traced]) -> dict[str, list[Collaboration]]:
    """Measure all, by method; one whose runs have one worker only is left out: it has nobody to work with.

    Teams of a unit that did not see each other are looked at as one team, to compare with.
    """
    measured = dict[str, list[Collaboration]]()
    for one in found:
        measured.setdefault(one.method, []).append(measure(*one.teams, parts=one.parts))
    return {method: runs for method, runs in measured.items() if any(len(run.shares) > 1 for run in runs)}


def _repeated(writing: Writing) -> dict[str, float]:
    """Of each worker that has n-grams: see `Share.repeated`."""
    given = set(_grams([(word.casefold(), 0) for word in WORD.findall(writing.given)]))
    found = sorted(
        ((moment, step.worker, gram) for step in writing.steps for gram, moment in _grams(step.words()).items()),
        key=lambda one: one[0],
    )
    writers, had, all_ = dict[tuple[str, ...], set[str]](), Counter[str](), Counter[str]()
    for _, worker, gram in found:
        if gram in given:
            continue
        before = writers.setdefault(gram, set())
        all_[worker] += 1
        had[worker] += bool(before - {worker})
        before.add(worker)
    return {worker: had[worker] / count for worker, count in all_.items()}


def _grams(words: Sequence[tuple[str, int]]) -> dict[tuple[str, ...], int]:
    """The different n-grams of words in order, each with the moment in which it was first complete."""
    found = dict[tuple[str, ...], int]()
    for end in range(GRAM, len(words) + 1):
        found.setdefault(tuple(word for word, _ in words[end - GRAM : end]), words[end - 1][1])
    return found


def _explained(writing: Writing, worker: str) -> float | None:
    """See `Share.explained`."""
    alone = together = 0
    for step in writing.of(worker):
        text = step.text.encode("utf-8", "replace")
        if len(text) < SQUEEZED:
            continue
        known = writing.given.encode("utf-8", "replace")
        others = "\n".join(_until(other, step.moments[-1]) for other in writing.steps if other.worker != worker)
        alone += (size := _size(text, known))
        together += min(size, _size(text, known + others.encode("utf-8", "replace")))
    return 1 - together / alone if alone else None


def _until(step: Step, moment: int) -> str:
    """What was written of a step before that moment."""
    pieces = bisect_left(step.moments, moment)
    return step.text[: step.ends[pieces - 1]] if pieces else ""


def _size(text: bytes, known: bytes) -> int:
    """Bytes of ``text``, compressed by who knows ``known``, without any frame."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, known[-_WINDOW:])
    return len(packer.compress(text)) + len(packer.flush())


def _answers(writing: Writing, parts: int) -> dict[int, list[tuple[int, str]]]:
    """Of each part: when it was answered, and by whom."""
    found = dict[int, list[tuple[int, str]]]()
    for step in writing.steps:
        if (handed := _HANDED.fullmatch(step.prefix.strip())) and step.text.strip():
            found.setdefault(int(handed["number"]), []).append((step.moment(0), step.worker))
            continue
        for line in _PART.finditer(step.text):
            if 1 <= (number := int(line["number"])) <= parts:
                found.setdefault(number, []).append((step.moment(line.start("text")), step.worker))
    return found


def _names(writing: Writing, worker: str) -> dict[str, int]:
    text = "\n".join(step.text for step in writing.of(worker))
    others = (other for other in writing.workers if other != worker)
    counts = {other: len(re.findall(rf"(?<!\w){re.escape(other)}(?!\w)", text)) for other in others}
    return {other: count for other, count in counts.items() if count}


def _checks(steps: Sequence[Step]) -> dict[str, Any]:
    """What the checks of one worker led to."""
    said = Counter(found[1].lower() for step in steps if step.checked and (found := _YES_NO.match(step.text)))
    fresh: dict[bool, list[float]] = {True: [], False: []}
    before: Step | None = None
    for step in steps:
        words = _content(step)
        if before is not None and words:
            fresh[step.checked].append(len(words - _content(before)) / len(words))
        before = step if step.text.strip() else before
    return {
        "checks": sum(step.checked for step in steps),
        "yes": said["yes"],
        "no": said["no"],
        "fresh": _mean(fresh[True]),
        "fresh_otherwise": _mean(fresh[False]),
    }


def _content(step: Step) -> set[str]:
    return {word for word, _ in step.words() if len(word) >= 4}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


# As tables.


def worker_table(title: str, found: Collaboration) -> Table:
    """A line for each worker of one run."""
    columns = ("worker", "tokens", "repeated", "explained", "parts", "names", "checks", "yes", "no", "fresh")
    rows = tuple(
        (
            share.worker,
            f"{share.tokens:,}",
            _percent(share.repeated),
            _percent(share.explained),
            " ".join(map(str, share.parts)),
            ", ".join(f"{name} {count}" for name, count in share.names.items()),
            *map(str, (share.checks, share.yes, share.no)),
            f"{_percent(share.fresh)} ({_percent(share.fresh_otherwise)})" if share.checks else "",
        )
        for share in found.shares
    )
    if found.parts:
        lists = [" ".join(map(str, those)) or "none" for those in (found.twice, found.undone)]
        title += f" (of {found.parts} parts done twice: {lists[0]}; by nobody: {lists[1]})"
    return Table(title, columns, rows)


def collaboration_table(found: Mapping[str, Sequence[Collaboration]], title: str = "Collaboration") -> Table:
    """A line for each method: means over its runs, and counts."""
    columns = (
        "method", "runs", "tokens of the busiest", "repeated", "explained", "parts of the busiest", "done twice",
        "by nobody", "names per 1,000 tokens", "checks", "yes", "fresh after a check", "fresh otherwise",
    )  # fmt: skip
    return Table(title, columns, tuple((name, *_line(runs)) for name, runs in found.items()))


def _line(runs: Sequence[Collaboration]) -> tuple[str, ...]:
    shares = [share for run in runs for share in run.shares]
    tokens, parts = sum(share.tokens for share in shares), sum(run.parts for run in runs)
    names = sum(sum(share.names.values()) for share in shares)
    return (
        str(len(runs)),
        _percent(_mean(_busiest([share.tokens for share in run.shares]) for run in runs)),
        _percent(_mean(share.repeated for share in shares)),
        _percent(_mean(share.explained for share in shares)),
        _percent(_mean(_busiest([len(share.parts) for share in run.shares]) for run in runs)),
        _percent(sum(len(run.twice) for run in runs) / parts if parts else None),
        _percent(sum(len(run.undone) for run in runs) / parts if parts else None),
        f"{1000 * names / tokens:.1f}" if tokens else "",
        str(sum(share.checks for share in shares)),
        str(sum(share.yes for share in shares)),
        _percent(_mean(share.fresh for share in shares)),
        _percent(_mean(share.fresh_otherwise for share in shares if share.checks)),
    )


def _busiest(amounts: Sequence[int]) -> float | None:
    """The share of who has most, or None where nobody has any."""
    return max(amounts) / sum(amounts) if sum(amounts) else None


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
