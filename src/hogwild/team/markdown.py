"""The little of Markdown that steps and answers need: which lines are code, and which are not.

Read leniently, as models write it: a fence may be indented or quoted, and one of backticks may open at the end of a
line of prose (``Alice: ```python``). A closing fence is alone on its line and at least as long as the opening one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BACKTICKS = re.compile(r"(?P<lead>(?:(?!```).)*)(?P<fence>`{3,})(?P<info>[^`]*)")
_TILDES = re.compile(r"(?P<lead>[\s>]*)(?P<fence>~{3,})(?P<info>.*)")
_CLOSING = re.compile(r"[\s>]*(?P<fence>`{3,}|~{3,})\s*")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block: the word after its opening fence, the lines inside, and whether its closing fence was read."""

    language: str
    code: str
    closed: bool


def split_code(text: str) -> tuple[list[CodeBlock], str]:
    """The fenced code blocks of ``text`` in order, and all other lines joined. Only the last block can be open."""
    blocks: list[CodeBlock] = []
    prose: list[str] = []
    opening: re.Match[str] | None = None
    code: list[str] = []
    for line in text.split("\n"):
        if opening is None:
            if opening := _opening(line):
                prose.append(opening["lead"])
            else:
                prose.append(line)
        elif _closes(opening, line):
            blocks.append(_block(opening, code, closed=True))
            opening, code = None, []
        else:
            code.append(line)
    if opening is not None:
        blocks.append(_block(opening, code, closed=False))
    return blocks, "\n".join(prose)


def _opening(line: str) -> re.Match[str] | None:
    """The fence that ``line`` opens, if it does: ``code`` between backticks is none, nor is a fence amid prose."""
    found = _BACKTICKS.fullmatch(line) or _TILDES.fullmatch(line)
    if found is None or (found["lead"].strip(" \t>") and len(found["info"].split()) > 1):
        return None
    return found


def _closes(opening: re.Match[str], line: str) -> bool:
    found = _CLOSING.fullmatch(line)
    return found is not None and found["fence"].startswith(opening["fence"])


def _block(opening: re.Match[str], code: list[str], *, closed: bool) -> CodeBlock:
    """The block without the indent of its opening fence, as Markdown shows it."""
    indent = len(opening["lead"]) if opening["lead"].isspace() else 0
    lines = [line[min(indent, len(line) - len(line.lstrip())) :] for line in code]
    return CodeBlock("".join(opening["info"].split()[:1]), "\n".join(lines), closed)
