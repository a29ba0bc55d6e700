"""What a person asks of ``hogwild run``, checked before anything heavy is loaded."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from hogwild.errors import InputError, OptionError

LAYOUTS = ("combined", "contiguous", "interleaved")
PROMPTS = ("default", "examples", "code", "short", "steps")
ASSIGN = ("none", "plan")
ANSWERS = ("text", "boxed", "number", "code")
ON_FULL = ("stop", "drop")
QUANTIZE = ("none", "int8", "int4")
ATTENTION = ("auto", "plain", "fused", "triton", "varlen")
MAX_WORKERS = 16
MAX_TASK_BYTES = 10_000_000

_TEXT_FILE = re.compile(r"(?:~|\.{0,2}/).*|.*\.(?:txt|text|md|markdown|rst|tex|json|jsonl|prompt|py)", re.IGNORECASE)
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is allowed."""
    if value not in allowed:
        raise OptionError(f"{option}: unknown value {value!r}; give one of {', '.join(allowed)}")
    return value


def within(option: str, value: float | None, low: float, high: float | None = None) -> None:
    """An error unless ``value`` is None or a finite number from ``low`` to ``high``, both allowed."""
    if value is not None and not (isfinite(value) and low <= value and (high is None or value <= high)):
        limits = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
        raise OptionError(f"{option}: {value} is out of range; give {limits}")


def parse_bytes(option: str, value: str) -> int:
    """``2GB``, ``1.5GiB`` or ``512 MB`` as bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)b?\s*", value, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size <= 0:
        raise OptionError(f"{option}: {value!r} is no size; give a number with a unit, like 2GB or 512MiB")
    return size


def split_list(option: str, value: str) -> tuple[str, ...]:
    """``a, b,c`` as ``("a", "b", "c")``; no part may be empty or given twice."""
    parts = tuple(part.strip() for part in value.split(","))
    if not all(parts) or len(set(parts)) < len(parts):
        raise OptionError(f"{option}: {value!r} has an empty or a repeated part; give each once, parted by commas")
    return parts


def parse_snapshots(value: str) -> tuple[int, ...]:
    """``128,256`` as a rising tuple of budgets in passes."""
    parts = split_list("--snapshots", value)
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise OptionError(f"--snapshots: {value!r} is no list of passes; give whole numbers above 0, like 128,256")
    return tuple(sorted(map(int, parts)))


def check_writable(option: str, path: Path) -> None:
    """An error where no file of that name can be made."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        reason = "is a folder" if path.is_dir() else "lies in no folder that exists"
        raise InputError(f"{option}: {str(path)!r} {reason}; give the name of a file")


def read_task(given: str) -> str:
    """The task itself, the text of the file that ``given`` names, or standard input for ``-``.

    A single word that looks like a path (``./nope``, ``/tmp/nope``, ``nope.md``) must be a file; all else is the task.
    """
    if given == "-":
        return _checked(_decode(sys.stdin.buffer.read(MAX_TASK_BYTES + 1), "standard input"), "standard input")
    path = _as_path(given)
    if path is None:
        return _checked(given, "TASK")
    try:
        with path.open("rb") as file:
            return _checked(_decode(file.read(MAX_TASK_BYTES + 1), str(path)), str(path))
    except OSError as error:
        raise InputError(
            f"the task file {given!r} cannot be read: {error.strerror}; a task in words has spaces"
        ) from error


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON schema of a file."""
    try:
        schema = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"--schema: the file {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"--schema: {str(path)!r} is no JSON: {error}") from error
    if not isinstance(schema, dict):
        raise InputError(f"--schema: {str(path)!r} holds no JSON object; give a JSON schema")
    return schema


def _as_path(given: str) -> Path | None:
    try:
        path = Path(given).expanduser()
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # too long for a name, a null character, no such home: all no paths
        return None
    return path if given.split() == [given] and _TEXT_FILE.fullmatch(given) else None


def _decode(data: bytes, source: str) -> str:
    if len(data) > MAX_TASK_BYTES:
        raise InputError(f"{source} is larger than {MAX_TASK_BYTES:,} bytes; no model has room for such a task")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text (byte {error.start}); give a text file") from error


def _checked(task: str, source: str) -> str:
    if not task.strip():
        raise InputError(f"{source} is empty; give a task")
    return task.strip()


@dataclass(frozen=True)
class Request:
    """Every option of ``hogwild run`` that the model or the team needs, valid in itself.

    ``workers`` counts 1 to 16. ``sampling`` holds only what the person set; the model's own defaults fill the rest.
    ``prompt`` is a packaged name or a folder; without one, it is what the adapter was trained with, or the default.
    ``adapter`` is a name, a folder or ``none``; without one, it is that of the package for such a team.
    ``kv_memory`` is in bytes.
    """

    task: str
    model: str
    workers: int = 2
    names: tuple[str, ...] | None = None
    layout: str = "combined"
    budget: int = 512
    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    prompt: str | Path | None = None
    assign: str | tuple[str, ...] = "none"
    one_by_one: bool = False
    answer: str = "text"
    schema: Mapping[str, Any] | None = None
    on_full: str = "stop"
    snapshots: tuple[int, ...] = ()
    drafts: int = 0
    adapter: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    quantize: str = "none"
    kv_memory: int | None = None
    kv_dtype: str | None = None
    attention: str = "auto"
    graphs: bool = False
    compile: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        within("--workers", self.workers, 1, MAX_WORKERS)
        within("--budget", self.budget, 1)
        within("--seed", self.seed, 0)
        within("--drafts", self.drafts, 0)
        one_of("--layout", self.layout, LAYOUTS)
        one_of("--answer", self.answer, ANSWERS)
        one_of("--on-full", self.on_full, ON_FULL)
        one_of("--quantize", self.quantize, QUANTIZE)
        one_of("--attention", self.attention, ATTENTION)
        if isinstance(self.assign, str):
            one_of("--assign", self.assign, ASSIGN)
        if self.names is not None and len(self.names) != self.workers:
            raise OptionError(f"--names: {len(self.names)} given for {self.workers} workers; give one for each")
        self._check_prompt()
        self._check_sampling()

    def _check_prompt(self) -> None:
        if isinstance(self.prompt, str):
            one_of("--prompt", self.prompt, PROMPTS)
        elif self.prompt is not None and not self.prompt.is_dir():
            raise InputError(f"--prompt-dir: there is no folder {str(self.prompt)!r}; give a folder of templates")

    def _check_sampling(self) -> None:
        limits: dict[str, tuple[float, float | None]] = {
            "temperature": (0, None),
            "top_p": (0, 1),
            "top_k": (0, None),
            "min_p": (0, 1),
            "repetition_penalty": (0.01, None),
            "presence_penalty": (-2, 2),
            "frequency_penalty": (-2, 2),
        }
        for name, value in self.sampling.items():
            within("--" + name.replace("_", "-"), value, *limits[name])

    def engine_options(self) -> dict[str, Any]:
        """The keyword arguments of ``Engine.load``."""
        names = (
            "adapter",
            "device",
            "dtype",
            "quantize",
            "kv_memory",
            "kv_dtype",
            "attention",
            "graphs",
            "compile",
            "trust_remote_code",
        )
        return {name: getattr(self, name) for name in names}

    def team_options(self) -> dict[str, Any]:
        """The keyword arguments of ``Team``, without ``sampling``, which needs the model's defaults."""
        team = ("workers", "layout", "budget", "seed", "answer", "schema")
        names = (*team, "on_full", "snapshots", "drafts", "one_by_one")
        options = {name: getattr(self, name) for name in names} | {
            "names": None if self.names is None else list(self.names),
            "assign": self.assign if isinstance(self.assign, str) else list(self.assign),
        }
        return options if self.prompt is None else options | {"prompt": str(self.prompt)}
