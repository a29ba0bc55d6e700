"""Text for a terminal: made harmless, counted, measured."""

from __future__ import annotations

import re

SEPARATOR = " · "

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS and its kin
    r"|\x1b[ -/]*[0-~]"
)
# Other control characters, and the marks that would turn the direction of the text around them.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` without anything that a terminal would obey: printable characters and line ends are left.

    What a model or a file says is untrusted. Markup is no danger: the views show ``rich.text.Text``, which has none.
    """
    text = _LINE_ENDS.sub("\n", text).replace("\t", "    ")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return whole(_CONTROLS.sub("", text))


def whole(text: str) -> str:
    """``text`` with a sign in place of each half of a character, which no encoding can write."""
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str) -> str:
    """``text``, cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def plural(count: int, noun: str) -> str:
    """``1 worker``, ``2 workers``, ``1,024 workers``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def passes(count: int) -> str:
    """``1 pass``, ``1,024 passes``."""
    return "1 pass" if count == 1 else f"{count:,} passes"


def rate(tokens: int, seconds: float) -> float:
    """Tokens a second; 0 while no time has passed."""
    return tokens / seconds if seconds > 0 else 0.0


def size(count: int) -> str:
    """``98.4 MB``: bytes in the decimal unit that suits them."""
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
