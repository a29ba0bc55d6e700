r"""Find the final answer in what a worker wrote. Text only, and no text makes it fail.

A team stops at the first answer found in a finished step, so doubt counts as no answer: a box that still holds the
prompt's placeholder, a quotation of the task, a sum that is not worked out, or a guess with an *if* is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from hogwild.errors import OptionError
from hogwild.team.markdown import split_code
from hogwild.team.number import only_number

AnswerForm = Literal["text", "boxed", "number", "code"]
"""Free text, a formula in a box, a number, or a fenced block of code. Nobody can tell when free text is final."""

_BOX_PARTS = re.compile(
    r"(?P<box>\\(?:boxed|fbox)\s*\{)"
    r"|\\(?:boxed|fbox)[ \t]*(?P<bare>[-+−]?[0-9][0-9.,/]*|[A-Z](?![A-Za-z]))"
    r"|\\\\(?!boxed|fbox)|\\[{}]"  # a line break or a brace that is shown: no part of the nesting
    r"|[{}]"
)

_LIST = r"(?P<letter>[a-z])_?1(?:, ?(?:(?P=letter)_?[0-9]+|\.{2,}|…|\\[lc]?dots))+"  # a1, a2, a3

_PLACEHOLDER = re.compile(
    r"(?:insert )?(?:the |your )?(?:final )?(?:answers?|number|result)(?: here)?"
    r"|\.{2,}|…|\\[lc]?dots|\?+"
    rf"|{_LIST}"
)
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,|\{,\}|,\\!)(?=[0-9]{3}(?![0-9]))")
_BRACKETS = re.compile(r"[()\[\]{}]")
_BETWEEN = re.compile(r"[,;\n]|\\\\|\band\b")
_TEXT_COMMANDS = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:bf|it|rm)|emph)\b|\\[ ,;!]|\\q?quad\b")

_CLAIM = re.compile(r"\banswer\b(?:[^.?!\n:=]{0,60}?(?:\b(?:is|was|be|equals)\b|[:=])|[*_\s]*\n)", re.IGNORECASE)
_FILLER = re.compile(r"(?:[\s:*_$=]|\\[\[(])*")
_HEDGE = re.compile(
    r"\b(?:if|whether|suppose|assum\w+|each|every|not|isn't|wasn't|maybe|perhaps|might|could|guess|what)\b",
    re.IGNORECASE,
)
_SENTENCE_BREAK = re.compile(r"[.?!](?=\s|$)|\n")
_CLAUSE_BREAK = re.compile(r"(?<!\\)[;(]|,\s|\b(?:because|since|as|so|where|but)\b", re.IGNORECASE)
_HASHES = re.compile(r"^####[ \t]*(?P<rest>\S.*)$", re.MULTILINE)
_REACH = 200  # characters of a sentence that are looked at, on either side of a claim
_NUMBERED_HEADING = re.compile(r"\W*[0-9]+[.):]\s+\w")


@dataclass(frozen=True)
class _Box:
    content: str
    begin: int  # of the command, in the text
    end: int


def boxed(text: str) -> str | None:
    r"""What the last complete ``\boxed{...}`` or ``\fbox{...}`` of ``text`` holds, or None.

    Braces may nest, and ``\{`` and ``\}`` do not count. Of a box in a box it is the inner one. A box without braces
    counts when it holds a number or one capital letter: ``\boxed 5``.
    """
    boxes = _boxes(text)
    return boxes[-1].content if boxes else None


def find_answer(text: str, form: str, task: str = "") -> str | None:
    r"""The final answer in ``text``, or None.

    Args:
        text: what a worker wrote.
        form: one of `AnswerForm`: ``boxed`` the last box; ``number`` the last that a box, ``#### 12`` or a sentence
            with *answer* gives, without its unit and thousands separators (``-1234.5``, ``3/4``); ``code`` the last
            complete fenced block; ``text`` never finds any.
        task: what the worker was told. A box that is in the task as well counts only where it is claimed to be the
            answer or stands first in the text; sentences and code of the task never count. Where the task has a box
            like ``\boxed{a1, a2, a3}``, a box with fewer items is no answer yet.

    Raises:
        OptionError: ``form`` is none of the four.
    """
    if form == "boxed":
        return next((box.content for box in reversed(_answers_in_boxes(text, task))), None)
    if form == "number":
        return _last_number(text, task)
    if form == "code":
        return _last_code(text, task)
    if form == "text":
        return None
    raise OptionError(f"answer form {form!r} is unknown: give one of {', '.join(get_args(AnswerForm))}")


def items_asked(task: str) -> int:
    r"""How many answers a task wants in one box: 3 for ``\boxed{a1, a2, a3}``, else 1."""
    return _items_listed(_squash(box.content) for box in _boxes(task))


def as_item(text: str) -> str:
    r"""One answer of several in a box, from ``text``, which was written behind ``\boxed{``; ``?`` where there is none.

    No comma is left in it but between brackets, as commas stand between answers.
    """
    content = boxed("\\boxed{" + text)
    if content is None:  # it never closed the box
        content = text.strip().split("\n")[0].rstrip("$\\ .")
    content = _THOUSANDS.sub("", content).strip()
    if "," in content and not _BRACKETS.search(content):
        content = " ".join(content.replace(",", " ").split())
    return content or "?"


def _boxes(text: str) -> list[_Box]:
    """All complete boxes, by where they begin. One pass: an unfinished box costs no second look."""
    boxes: list[_Box] = []
    opened: list[re.Match[str]] = []
    for part in _BOX_PARTS.finditer(text):
        if part["box"] or part[0] == "{":
            opened.append(part)
        elif part["bare"]:
            boxes.append(_Box(part["bare"].rstrip(".,/"), part.start(), part.end()))
        elif part[0] == "}" and opened and (begin := opened.pop())["box"]:
            boxes.append(_Box(text[begin.end() : part.start()].strip(), begin.start(), part.end()))
    return sorted(boxes, key=lambda box: box.begin)


def _answers_in_boxes(text: str, task: str) -> list[_Box]:
    """The boxes that hold an answer: neither a placeholder nor quoted from the task."""
    of_task, squashed_task = {_squash(box.content) for box in _boxes(task)}, _squash(task)
    fewest = _items_listed(of_task)

    def counts(box: _Box) -> bool:
        if _items(box.content) < fewest:
            return False
        repeated = _squash(box.content) in of_task and _is_quoted(text, box, squashed_task)
        return not repeated and not _is_placeholder(box.content)

    return [box for box in _boxes(text) if counts(box)]


def _items_listed(contents: Iterable[str]) -> int:
    """The most items of those that only list names, such as ``a1, a2, a3``; else 1."""
    return max((_items(content) for content in contents if re.fullmatch(_LIST, content)), default=1)


def _items(content: str) -> int:
    return len(_BETWEEN.findall(content)) + 1


def _is_placeholder(content: str) -> bool:
    inside = _TEXT_COMMANDS.sub(" ", content).strip(" \t\n{}<>$*_").casefold()
    return not inside or _PLACEHOLDER.fullmatch(_squash(inside.strip("[]()"))) is not None


def _is_quoted(text: str, box: _Box, squashed_task: str) -> bool:
    """Whether a box that the task holds too is only repeated here."""
    if not text[: box.begin].strip(" \t\n$\\[("):
        return False
    claim = _CLAIM.search(text, _sentence_begin(text, box.begin), box.begin)
    return claim is None or _squash(text[claim.start() : box.end]) in squashed_task


def _last_number(text: str, task: str) -> str | None:
    claims = [(box.end, only_number(box.content)) for box in _answers_in_boxes(text, task)]
    squashed_task = _squash(task)
    for begin, end, clause in (*_hash_claims(text), *_sentence_claims(text)):
        if _squash(text[begin:end]) not in squashed_task:
            claims.append((end, only_number(clause)))
    return max(((end, number) for end, number in claims if number is not None), default=(0, None))[1]


def _hash_claims(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and content of each line like ``#### 12``, but not of headings like ``#### 1. First``."""
    for line in _HASHES.finditer(text):
        if not (_NUMBERED_HEADING.match(line["rest"]) or line["rest"][0].isalpha()):
            yield line.start(), line.end(), line["rest"]


def _sentence_claims(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and first clause of what each sentence says after "the answer is", but for guesses."""
    for claim in _CLAIM.finditer(text):
        filler = _FILLER.match(text, claim.end())
        start = filler.end() if filler else claim.end()
        ending = _SENTENCE_BREAK.search(text, start, start + _REACH)
        end = ending.start() if ending else min(len(text), start + _REACH)
        clause = _CLAUSE_BREAK.split(text[start:end], maxsplit=1)[0]
        before = text[_sentence_begin(text, claim.start()) : claim.end()]
        if not _HEDGE.search(before) and not _HEDGE.match(clause):
            yield claim.start(), end, clause


def _sentence_begin(text: str, position: int) -> int:
    begin = max(0, position - _REACH)
    return max((found.end() for found in _SENTENCE_BREAK.finditer(text, begin, position)), default=begin)


def _last_code(text: str, task: str) -> str | None:
    given = _squash(task)
    codes = [block.code for block in split_code(text)[0] if block.closed]
    return next((code for code in reversed(codes) if code.strip() and _squash(code) not in given), None)


def _squash(text: str) -> str:
    """``text`` with all white space alike, so that a quotation compares equal however its lines break."""
    return " ".join(text.split())
