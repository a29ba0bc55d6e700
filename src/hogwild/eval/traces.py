"""Traces to be measured or judged: files of ``hogwild run``, and what the folder of an evaluation has kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hogwild.errors import InputError
from hogwild.eval import records, results
from hogwild.eval.results import Folder
from hogwild.team.events import Event
from hogwild.team.trace import read_trace


@dataclass(frozen=True)
class Traced:
    """What one run, or one unit of an evaluation, has told.

    Attributes:
        name: the file, or the folder and the unit.
        teams: the events of each team; of ``vote-4`` these are four.
        method: of the unit; empty for a file.
        parts: how many the problem has, as far as its scores tell; 0 where that is not known.
    """

    name: str
    teams: Sequence[Sequence[Event]]
    method: str = ""
    parts: int = 0


def read_runs(path: Path) -> list[Traced]:
    """What a trace, a gzipped trace of an evaluation (``.gz``), or the folder of one holds.

    Raises `InputError` or `TraceError` for what cannot be read, and for a folder without traces.
    """
    if not path.is_dir():
        teams = records.read_traces(path) if path.suffix == ".gz" else [read_trace(path)]
        return [Traced(str(path), teams)]
    found = list(units(results.read(path)))
    if not found:
        raise InputError(f"{path}: there are no traces; let `hogwild eval run` work without --no-traces")
    return found


def units(folder: Folder) -> Iterator[Traced]:
    """Each unit that has a trace in which something happened."""
    parts = dict[str, int]()
    for record in folder.sorted():
        parts[record.problem] = max(parts.get(record.problem, 0), len(record.parts))
    for unit, teams in folder.traces():
        if any(teams):
            yield Traced(f"{folder.path}: {unit}", teams, unit.method, parts[unit.problem])
