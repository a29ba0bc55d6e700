"""Rows of a data set: from a file in the folder of data, or from the hub; nothing is kept or copied here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hogwild.errors import InputError
from hogwild.eval.problem import Loaded, Problem, Source


@dataclass(frozen=True)
class DataSet:
    """Where a data set is found: ``files`` in a folder, the first that is there; ``hub``, ``config`` and ``split``."""

    files: Sequence[str]
    hub: str
    config: str | None = None
    split: str = "test"


@dataclass(frozen=True)
class Row:
    """One line of a data set. ``number`` counts from 0 in the whole set; ``where`` names it in errors."""

    number: int
    values: Mapping[str, Any]
    where: str

    def text(self, *names: str) -> str:
        """The first of these fields that the row has, as text; of a list of texts, all of it, comma separated.

        Raises `InputError` where there is none, or it is neither text nor a number.
        """
        name = next((name for name in names if self.values.get(name) is not None), None)
        if name is None:
            raise InputError(f"{self.where} has none of the fields {', '.join(names)}: give a file of this data set")
        value = self.values[name]
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = ", ".join(value)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise InputError(f"{self.where}: field {name!r} is {value!r}; it must be text or a number")
        return str(value)

    def text_or(self, name: str, default: str) -> str:
        """A field as text, or ``default`` where the row has none."""
        return self.text(name) if self.values.get(name) is not None else default


@dataclass(frozen=True)
class Rows:
    """All rows of a data set, in its order. ``checksum``: SHA-256 of the file, or of the rows as JSON."""

    rows: Sequence[Row]
    origin: str
    checksum: str


def load_rows(data: DataSet, source: Source) -> Rows:
    """All rows, from the folder if there is one, else from the hub. Raises `InputError`, with the fix."""
    if source.folder is None:
        return _from_hub(data)
    for name in data.files:
        if (path := source.folder / name).is_file():
            return read_jsonl(path)
    if not source.folder.is_dir():
        raise InputError(f"there is no folder {source.folder}: give --data FOLDER or set HOGWILD_DATA")
    raise InputError(f"{source.folder} has no file {' or '.join(data.files)}: give --data FOLDER or set HOGWILD_DATA")


def load_problems(data: DataSet, source: Source, make: Callable[[Row], Problem]) -> Loaded:
    """The problems of a data set, one a row, of the rows that `kept_apart` leaves, up to the limit."""
    loaded = load_rows(data, source)
    rows = kept_apart(loaded.rows, source)[: source.limit]
    return Loaded([make(row) for row in rows], loaded.origin, loaded.checksum)


def kept_apart(rows: Sequence[Row], source: Source) -> Sequence[Row]:
    """The rows that a source takes: the first three quarters, the last one (``kept``), or all (``whole``)."""
    if source.whole:
        return rows
    border = len(rows) - len(rows) // 4
    return rows[border:] if source.kept else rows[:border]


def read_jsonl(path: Path) -> Rows:
    """The rows of a JSONL file. Raises `InputError` for a line that is no JSON object, by its number from 1."""
    try:
        content = path.read_bytes()
        lines = content.decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a JSONL file in UTF-8") from None
    rows = [(number, _parse(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path} is empty: give a JSONL file with one problem a line")
    checksum = hashlib.sha256(content).hexdigest()
    return Rows([Row(i, row, f"{path}:{line}") for i, (line, row) in enumerate(rows)], str(path), checksum)


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}:{number} is no JSON ({error}): correct or remove the line") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}:{number} is no JSON object: correct or remove the line")
    return row


def _from_hub(data: DataSet) -> Rows:
    fix = "give --data FOLDER or set HOGWILD_DATA"
    try:
        from datasets import load_dataset
    except ImportError:
        raise InputError(f"the package datasets is missing: install 'hogwild[eval]', or {fix}") from None
    try:
        values = [dict(row) for row in load_dataset(data.hub, data.config, split=data.split)]
    except Exception as error:  # whatever the hub, the network or the cache may raise
        raise InputError(f"{data.hub} cannot be loaded from the hub ({_line(error)}): {fix}") from None
    checksum = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
    origin = f"hub:{data.hub}" + (f"/{data.config}" if data.config else "")
    return Rows([Row(i, row, f"{origin} row {i}") for i, row in enumerate(values)], origin, checksum)


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
