"""The folder of an evaluation: what was asked for, what came of it, and how far it is.

    run.json        what was asked for, of which data, where and when
    results.jsonl   a line for each problem, seed, method and budget, in that order: the same in every run
    times.jsonl     the seconds of each line
    journal.jsonl   while it is not finished: the units that are, in the order in which they ended
    traces/         the events of each unit

A unit is written to the journal whole, in one line; a line that was cut off by a kill is dropped, and its unit is done
again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hogwild.errors import HogwildError, InputError, OptionError
from hogwild.eval import records
from hogwild.eval.problem import Loaded, Problem
from hogwild.eval.records import Record, Unit
from hogwild.team.events import Event

FORMAT = 1
"""The ``format`` of ``run.json`` that this version writes and reads."""

LATER = {"whole": False, "graphs": False}
"""Fixed settings that ``run.json`` did not have from the beginning, and what stood for them."""

RUN, RESULTS, TIMES, JOURNAL, TRACES = "run.json", "results.jsonl", "times.jsonl", "journal.jsonl", "traces"


@dataclass(frozen=True)
class Asked:
    """What one command asks for.

    Attributes:
        fixed: what must be the same in every command for one folder: task, model, how it is loaded and sampled.
        methods, budgets, seeds, limit: how much of it. Another command for the same folder may ask for more, or less.
    """

    fixed: Mapping[str, Any]
    methods: Sequence[str]
    budgets: Sequence[int]
    seeds: int = 1
    limit: int | None = None

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise OptionError(f"methods={','.join(self.methods)!r}: give at least one, and each once")
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise OptionError(f"budgets={list(self.budgets)}: give passes above 0, rising, each once")
        for name, value in (("seeds", self.seeds), ("limit", self.limit)):
            if value is not None and value < 1:
                raise OptionError(f"{name}={value}: give 1 or more")


class Folder:
    """The results in a folder; made by `opened` to write, by `read` to look at.

    Attributes: ``path``; ``run``, what ``run.json`` holds; ``records`` of each unit, by budget.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        self.path, self.run = path, run
        self.records: dict[Unit, dict[int, Record]] = {}
        for record in _finished(path):
            self._keep([record])
        for line in _whole_lines(path / JOURNAL):
            self._keep([records.read_record(one, str(path / JOURNAL)) for one in line["records"]])

    def _keep(self, new: Iterable[Record]) -> None:
        for record in new:
            self.records.setdefault(record.unit, {})[record.budget] = record

    # What is to be done.

    def check(self, loaded: Loaded) -> None:
        """Raise `OptionError` where these are not the problems that the results are about."""
        known: Mapping[str, str] = self.run.get("problems", {})
        for name, found in _digests(loaded).items():
            if known.get(name, found) != found:
                raise OptionError(
                    f"{self.path}: problem {name!r} is not the one that these results are about: the data have "
                    "changed, give another folder"
                )

    def start(self, asked: Asked, loaded: Loaded, session: Mapping[str, Any]) -> None:
        """Note what is asked for, of what, and where, before the first unit."""
        digests, known = _digests(loaded), self.run.get("problems", {})
        if len(digests) >= len(known):
            self.run |= {"data": {"origin": loaded.origin, "checksum": loaded.checksum}, "problems": digests}
        self.run = {
            "format": FORMAT,
            **asked.fixed,
            "methods": list(dict.fromkeys([*self.run.get("methods", ()), *asked.methods])),
            "budgets": sorted({*self.run.get("budgets", ()), *asked.budgets}),
            "seeds": max(self.run.get("seeds", 0), asked.seeds),
            "limit": len(self.run["problems"]),
            "data": self.run["data"],
            "sessions": [*self.run.get("sessions", ()), dict(session)],
            "problems": self.run["problems"],
        }
        _write(self.path / RUN, json.dumps(self.run, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n")

    def todo(self, asked: Asked, problems: Sequence[Problem]) -> list[tuple[Problem, Unit, Sequence[int]]]:
        """The units that are missing, with the budgets of each: by problem, then seed, then method.

        So what is there after a while has all methods. A unit that lacks a budget is done again, for all its budgets.
        """
        missing = list[tuple[Problem, Unit, Sequence[int]]]()
        for problem in problems:
            for seed in range(asked.seeds):
                for method in asked.methods:
                    unit = Unit(problem.id, method, seed)
                    there = self.records.get(unit, {})
                    if not there.keys() >= set(asked.budgets):
                        missing.append((problem, unit, sorted({*there, *asked.budgets})))
        return missing

    # What came of it.

    def add(self, new: Sequence[Record], traces: Sequence[Sequence[Event]] | None) -> None:
        """A unit has ended: its traces, if they are wanted, and then its line in the journal, to the disk."""
        if traces is not None:
            records.write_traces(self.path / TRACES, new[0].unit, traces)
        with (self.path / JOURNAL).open("ab") as file:
            file.write(records.line({"records": [asdict(record) for record in new]}))
            file.flush()
            os.fsync(file.fileno())
        self._keep(new)

    def sorted(self) -> list[Record]:
        """All records: by problem, seed, method and budget, in the order of ``run.json``."""
        problems = {name: place for place, name in enumerate(self.run["problems"])}
        methods = {name: place for place, name in enumerate(self.run["methods"])}
        found = [record for budgets in self.records.values() for record in budgets.values()]
        return sorted(found, key=lambda one: (problems[one.problem], one.seed, methods[one.method], one.budget))

    def finish(self) -> None:
        """Write the results in order; the journal is not needed any more."""
        ordered = self.sorted()
        _write(self.path / TIMES, b"".join(map(records.time_line, ordered)))
        _write(self.path / RESULTS, b"".join(map(records.result_line, ordered)))
        (self.path / JOURNAL).unlink(missing_ok=True)

    def traces(self, methods: Collection[str] | None = None) -> Iterator[tuple[Unit, list[list[Event]]]]:
        """The events of all teams of each unit that has traces: of all methods, or of some."""
        for unit in self.records:
            if methods is not None and unit.method not in methods:
                continue
            path = self.path / TRACES / records.trace_name(unit)
            if path.exists():
                yield unit, records.read_traces(path)


@contextmanager
def opened(path: Path, asked: Asked) -> Iterator[Folder]:
    """The folder, new or as it was left, for this process alone.

    Raises `OptionError` where it cannot be made, another process writes to it, or its results were made otherwise.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise OptionError(f"{path}: another process writes there now; wait for it, or give another folder") from None
    except OSError as error:
        raise OptionError(f"{path}: no results can be written there ({error.strerror}); give another folder") from None
    try:
        run = _run(path) if (path / RUN).exists() else {}
        if not run and any((path / name).exists() for name in (RESULTS, JOURNAL)):
            raise OptionError(f"{path}: it holds results, but no {RUN} that says of what; give another folder")
        _check(path, run, asked)
        _cut(path / JOURNAL)
        yield Folder(path, run)
    finally:
        lock.release()


def read(path: Path) -> Folder:
    """The results in a folder, those of a run that goes on or was interrupted as well. Raises `InputError`."""
    if not (path / RUN).is_file():
        raise InputError(f"{path}: there are no results; give a folder that `hogwild eval run --out` has made")
    return Folder(path, _run(path))


def digest(problem: Problem) -> str:
    """What tells whether a problem is the same: the beginning of the SHA-256 of all of it."""
    return hashlib.sha256(json.dumps(asdict(problem), sort_keys=True).encode()).hexdigest()[:16]


def _digests(loaded: Loaded) -> dict[str, str]:
    return {problem.id: digest(problem) for problem in loaded.problems}


def _run(path: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads((path / RUN).read_bytes())
        found = run["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / RUN} cannot be read ({error}); give another folder") from None
    if found != FORMAT:
        raise InputError(f"{path / RUN} is of format {found}, and this version reads {FORMAT}")
    return run


def _check(path: Path, run: Mapping[str, Any], asked: Asked) -> None:
    for name, value in asked.fixed.items():
        before = run.get(name, LATER.get(name))
        if run and before != value:
            raise OptionError(
                f"{path}: its results were made with {name} {_shown(before)}, and now {name} is "
                f"{_shown(value)}: give the same, or another folder"
            )


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)


def _finished(path: Path) -> Iterator[Record]:
    results = _whole_lines(path / RESULTS)
    return records.join(results, _whole_lines(path / TIMES), str(path / RESULTS))


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, but for a last one that was cut off; nothing where there is no file."""
    data = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(data[: _whole(data)].splitlines(), 1):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HogwildError(f"{path}, line {number} is no JSON object: the file is damaged; give another folder")
        yield found


def _whole(data: bytes) -> int:
    """How many bytes are whole lines."""
    end = data.rfind(b"\n") + 1
    last = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    with suppress(ValueError):
        json.loads(data[last:end] or b"{}")
        return end
    return last  # a power cut may leave a line that is whole by its length only


def _cut(path: Path) -> None:
    if path.exists():
        os.truncate(path, _whole(path.read_bytes()))


def _write(path: Path, data: bytes) -> None:
    """All of it, or nothing: what was there stays until the new one is on the disk."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
