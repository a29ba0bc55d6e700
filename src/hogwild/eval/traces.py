"""Traces to be measured or judged: files of ``hogwild run``, and what the folder of an evaluation has kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hogwild.errors import InputError
from hogwild.eval import records, results
from hogwild.eval.results import Folder
from hogwild.team.events import Event, Token
from hogwild.team.trace import read_trace


@dataclass(frozen=True)
class Traced:
    """What one run, or one unit of an evaluation, has told.

    Attributes:
        name: the file, or the folder and the unit.
        teams: the events of each team; of ``vote-4`` these are four. Teams that wrote nothing are left out.
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
        return [Traced(str(path), _writing(records.read_traces(path)) if path.suffix == ".gz" else [read_trace(path)])]
    found = list(units(results.read(path)))
    if not found:
        raise InputError(f"{path}: there are no traces; let `hogwild eval run` work without --no-traces")
    return found


def units(folder: Folder, methods: Collection[str] | None = None) -> Iterator[Traced]:
    """Each unit, of all methods or of some, that has a trace in which something was written."""
    parts = dict[str, int]()
    for record in folder.sorted():
        parts[record.problem] = max(parts.get(record.problem, 0), len(record.parts))
    for unit, teams in folder.traces(methods):
        if writing := _writing(teams):
            yield Traced(f"{folder.path}: {unit}", writing, unit.method, parts[unit.problem])


def _writing(teams: Sequence[Sequence[Event]]) -> list[Sequence[Event]]:
    """Those that wrote; those that only finish what others wrote, as of ``independent-2``, do not work together."""
    return [events for events in teams if any(isinstance(event, Token) for event in events)]
