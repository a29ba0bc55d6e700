"""What an evaluation writes down: a record for each problem, method, seed and budget, and the traces of its teams."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hogwild.errors import InputError
from hogwild.team.events import EVENT, Event, Started

TEXT_LIMIT = 2000
"""The most characters of an answer's text that are kept."""

TIMES = ("seconds", "wall")
"""The fields that differ from run to run: they have a file of their own."""


@dataclass(frozen=True, order=True)
class Unit:
    """What is done at once, or not at all: one method on one problem with one seed, for all budgets."""

    problem: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.problem} by {self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Record:
    """One unit at one budget: a line of ``results.jsonl``, and its times a line of ``times.jsonl``.

    Attributes:
        problem, method, seed, budget: which it is; ``budget`` in passes.
        answer: as parsed, or None. text: as shown, up to `TEXT_LIMIT` characters.
        value, status, parts: the `Score`. A unit that failed before this budget has the value 0, as it has no answer.
        passes, tokens, reason: of the `Reading`; ``reason`` is ``error`` where the unit had failed by then.
        error: why the unit failed, in one line, on all of its records; or None.
        seconds: of decoding by then, by the teams' own clocks. wall: of the whole unit, beginning to end, with
            whatever ran beside it.
    """

    problem: str
    method: str
    seed: int
    budget: int
    answer: str | None
    text: str
    value: float
    status: str
    parts: Sequence[bool]
    passes: int
    tokens: int
    reason: str
    error: str | None
    seconds: float
    wall: float

    @property
    def unit(self) -> Unit:
        """The unit that it is of."""
        return Unit(self.problem, self.method, self.seed)

    @property
    def failed(self) -> bool:
        """Whether its unit had failed by this budget."""
        return self.reason == "error"


_NAMES = [field.name for field in fields(Record)]
_KEYS = ("problem", "method", "seed", "budget")


def result_line(record: Record) -> bytes:
    """All but the times, as a line of JSON: the same in every run."""
    return line({name: value for name, value in asdict(record).items() if name not in TIMES})


def time_line(record: Record) -> bytes:
    """Which it is, and the times, to the microsecond."""
    times = {name: round(getattr(record, name), 6) for name in TIMES}
    return line({name: getattr(record, name) for name in _KEYS} | times)


def line(value: Any) -> bytes:
    """A line of JSON in UTF-8. Half a character (a lone surrogate), which a model may write, becomes ``?``."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def read_record(given: dict[str, Any], where: str) -> Record:
    """A record from its JSON. Raises `InputError` for what is none; times that are not there are 0."""
    given = dict.fromkeys(TIMES, 0.0) | given
    if sorted(given) != sorted(_NAMES):
        raise InputError(f"{where} is no line of an evaluation's results; take a folder of `hogwild eval run`")
    return Record(**given | {"parts": tuple(given["parts"])})


def join(results: Iterable[dict[str, Any]], times: Iterable[dict[str, Any]], where: str) -> Iterator[Record]:
    """Records from the lines of the two files."""
    found = {tuple(one.get(key) for key in _KEYS): one for one in times}
    for one in results:
        yield read_record(one | found.get(tuple(one.get(key) for key in _KEYS), {}), where)


def write_traces(folder: Path, unit: Unit, traces: Sequence[Sequence[Event]]) -> None:
    """All events of a unit's teams, one team after another, as lines of JSON in ``gzip``.

    Each team's part is a trace as `hogwild replay` reads it.
    """
    folder.mkdir(exist_ok=True)
    lines = [line(event.model_dump(mode="json", by_alias=True)) for events in traces for event in events]
    (folder / trace_name(unit)).write_bytes(gzip.compress(b"".join(lines), mtime=0))


def read_traces(path: Path) -> list[list[Event]]:
    """The events of each team of a unit. Raises `InputError` for a file that cannot be read."""
    teams = list[list[Event]]()
    try:
        for text in gzip.decompress(path.read_bytes()).splitlines():
            event = EVENT.validate_json(text)
            if isinstance(event, Started):
                teams.append([])
            teams[-1].append(event)
    except (OSError, EOFError, ValidationError, IndexError) as error:
        raise InputError(f"the traces {str(path)!r} cannot be read: {' '.join(str(error).split())}") from None
    return teams


def trace_name(unit: Unit) -> str:
    """The file of a unit's traces. What a file name cannot hold becomes ``_``, and a checksum keeps names apart."""
    plain = re.sub(r"[^\w.+-]+", "_", unit.problem)[:80]
    if plain != unit.problem:
        plain += "-" + hashlib.sha256(unit.problem.encode()).hexdigest()[:8]
    return f"{plain}--{unit.method}--{unit.seed}.jsonl.gz"
