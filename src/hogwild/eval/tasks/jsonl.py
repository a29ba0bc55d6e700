r"""A user's own problems: ``jsonl:FILE``, one JSON object a line.

Without more, a row has ``question`` and ``answer``, and may have ``id`` and ``parts``, a list of texts.
``FILE.toml`` beside it (``mine.jsonl.toml``) may say otherwise:

    question = "Translate into French: {{ english }}"    # a Jinja template over the fields of the row
    answer = "{{ french }}"                              # a template, too
    form = "text"                                        # boxed (the default), number, code or text
    id = "{{ number }}"                                  # by default the field id, or the number of the line
    parts = ["...", "..."]                               # templates; by default the field parts
    answer_tokens = 200

A number is right if it is the same number, a formula in a box by math-verify, text and code where they are the same but
for case and space.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from jinja2 import StrictUndefined, Template
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hogwild.errors import InputError
from hogwild.eval.answers import same_formula, same_number
from hogwild.eval.loading import Row, kept_apart, read_jsonl
from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.team.answer import AnswerForm

LONGEST = 200_000
"""Characters of a question."""

MOST_PARTS = 64
_LARGEST = 1 << 30  # bytes of a file
_FIELDS = {"question": str, "answer": str, "id": str, "form": str, "parts": list, "answer_tokens": int}
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


@dataclass(frozen=True)
class _Header:
    """What the file beside the problems says."""

    where: str
    form: AnswerForm = "boxed"
    answer_tokens: int | None = None
    templates: Mapping[str, Template] = field(default_factory=dict)  # question, answer, id
    parts: Sequence[Template] | None = None


@dataclass(frozen=True)
class _Jsonl:
    """See `hogwild.eval.problem.Task`."""

    name: str
    path: Path
    header: _Header

    @property
    def answer_tokens(self) -> int | None:
        return self.header.answer_tokens

    def load(self, source: Source) -> Loaded:
        rows = read_jsonl(self.path)
        problems, lines = list[Problem](), dict[str, str]()
        for row in kept_apart(rows.rows, source)[: source.limit]:
            problem = self._read(row)
            if problem.id in lines:
                first = lines[problem.id]
                raise InputError(f"{row.where}: id {problem.id!r} is that of {first}, too: give each row its own")
            lines[problem.id] = row.where
            problems.append(problem)
        return Loaded(problems, rows.origin, rows.checksum)

    def _read(self, row: Row) -> Problem:
        question, answer = self._text(row, "question"), self._text(row, "answer")
        has_id = "id" in self.header.templates or row.values.get("id") is not None
        name = self._text(row, "id") if has_id else row.where.rpartition(":")[2]
        if len(question) > LONGEST:
            raise InputError(f"{row.where}: the question is {len(question)} characters long: {LONGEST} is the most")
        return Problem(name, question, answer, self.header.form, self._parts(row))

    def _text(self, row: Row, name: str) -> str:
        template = self.header.templates.get(name)
        if template is None:
            return row.text(name)
        text = _rendered(template, row, f"{self.header.where}: {name}")
        if not text.strip():
            raise InputError(f"{row.where}: {name} comes out empty by the template in {self.header.where}: correct it")
        return text

    def _parts(self, row: Row) -> list[str]:
        parts = row.values.get("parts") or []
        if self.header.parts is not None:
            parts = [_rendered(template, row, f"{self.header.where}: parts") for template in self.header.parts]
        if not isinstance(parts, list) or not all(isinstance(part, str) and part.strip() for part in parts):
            raise InputError(f"{row.where}: parts is {str(parts)[:60]!r}: give a list of texts, none of them empty")
        if len(parts) > MOST_PARTS:
            raise InputError(f"{row.where} has {len(parts)} parts: {MOST_PARTS} is the most")
        return parts

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        if answer is None or not answer.strip():
            return Score(0.0, "nothing")
        return Score(1.0, "right") if _same(answer, problem) else Score(0.0, "wrong")


def jsonl(name: str) -> _Jsonl:
    """The task ``jsonl:FILE``. Raises `InputError` where there is no such file, or the one beside it is wrong."""
    path = Path(name.removeprefix("jsonl:")).expanduser()
    if not path.is_file():
        raise InputError(f"task {name!r}: there is no file {path}: give one with a JSON object a line")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path} is larger than {_LARGEST >> 20} MiB: split it")
    return _Jsonl(name, path, _header(path.with_name(path.name + ".toml")))


def _header(path: Path) -> _Header:
    if not path.exists():
        return _Header(str(path))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a TOML file in UTF-8") from None
    for name, value in values.items():
        if name not in _FIELDS:
            raise InputError(f"{path}: {name} is unknown: known are {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise InputError(f"{path}: {name} is {value!r}: it must be a {_FIELDS[name].__name__}")
    form, tokens = values.get("form", "boxed"), values.get("answer_tokens")
    if form not in get_args(AnswerForm):
        raise InputError(f"{path}: form is {form!r}: give one of {', '.join(get_args(AnswerForm))}")
    if tokens is not None and tokens < 1:
        raise InputError(f"{path}: answer_tokens is {tokens}: give 1 or more")
    named = [name for name in ("question", "answer", "id") if name in values]
    templates: dict[str, Template] = {name: _template(path, name, values[name]) for name in named}
    parts = [_template(path, "parts", part) for part in values["parts"]] if "parts" in values else None
    return _Header(str(path), form, tokens, templates, parts)


def _template(path: Path, name: str, text: Any) -> Template:
    if not isinstance(text, str):
        raise InputError(f"{path}: {name} is {text!r}: it must be a text")
    try:
        return _JINJA.from_string(text)
    except TemplateError as error:
        raise InputError(f"{path}: the template of {name} is broken ({error}): correct it") from None


def _rendered(template: Template, row: Row, where: str) -> str:
    try:
        return template.render(row.values)
    except Exception as error:  # a template can fail in every way that a program can
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{row.where}: the template {where} fails ({reason}): correct it or the row") from None


def _same(answer: str, problem: Problem) -> bool:
    if " ".join(answer.casefold().split()) == " ".join(problem.answer.casefold().split()):
        return True
    if problem.form == "number":
        return same_number(answer, problem.answer)
    return problem.form == "boxed" and same_formula(answer, problem.answer)
