r"""Read a number as people and models write it: ``$1,234.50``, ``-3/4``, ``1 1/2``, ``\frac34``, ``2 \cdot 10^3``."""

from __future__ import annotations

import re

# The thousands separators: comma, TeX's {,} and ,\! and \, and the narrow spaces. A plain space is too often none.
_NUMBER = r"""
    (?P<head> [-−–+]? \s? (?:\\?[$€£¥])? \s? [-−–]? )
    (?: (?: (?P<ones>[0-9]{1,9}) \s*)?
        \\[dt]?frac \s* (?: \{(?P<top>[0-9]{1,999})\} | (?P<over>[0-9]) )
        \s* (?: \{(?P<bottom>[0-9]{1,999})\} | (?P<below>[0-9]) )
    |   (?P<mixed> (?P<full>[0-9]{1,9}) [ ]+ (?P<part>[0-9]{1,9}) / (?P<parts>[0-9]{1,9}) )
    |   (?P<whole> [0-9]{1,3} (?:(?:,|\{,\}|,\\!|\\,|[\u2009\u202f])[0-9]{3})+ (?![0-9]) | [0-9]+ | (?=\.[0-9]) )
        (?P<point> \.[0-9]+ )?
        (?: \s*/\s* (?P<under>[0-9]+) )?
        (?: [eE](?P<power>[-+]?[0-9]{1,4})
        |   \s*(?:\\times|\\cdot|×)\s*10\^(?:\{(?P<braced>[-+]?[0-9]{1,4})\}|(?P<digit>[0-9]))
        )?
    )
"""

# Nothing that changes the value may follow: words, and the commands that set them in text; a unit's own exponent.
_UNIT = r"""
    (?: [^0-9+*^=<>×·÷!/\\−–-]
    |   \*+(?!\s*[0-9A-Za-z(\\])
    |   /(?=\s?[A-Za-z\\]) | -(?=[A-Za-z])
    |   \\(?:text(?:bf|it|rm)?|math(?:bf|it|rm)|q?quad|degree|circ|[,;!:%$\s\])])
    |   \^(?:\{\\circ\}|\\circ) | (?<=[A-Za-z})])\^(?:\{[0-9]\}|[0-9])
    )*+
"""

# What may lead to it: words, TeX's own words, and marks. Possessive, so that no text takes long to be refused.
_LEAD = r"(?: [\s:$*_~≈(\[{] | \\[(\[\s,] | \\(?:text|math)(?:bf|it|rm)?\b | [^\W\d_]{2,}(?=[\s:]) )*+"

_ONLY = re.compile(_LEAD + _NUMBER + _UNIT, re.VERBOSE)
_EQUALS = re.compile(r"=|≈|\\approx\b|\\equiv\b")


def only_number(text: str) -> str | None:
    """The one number that ``text`` comes to, or None: after its last ``=``, with words and a unit around it perhaps.

    Written plainly, as ``-1234.5``, ``3/4`` or ``1.5e3``. A percentage is given without its sign.
    """
    found = _ONLY.fullmatch(_EQUALS.split(text)[-1])
    if found is None:
        return None
    sign = "-" if re.search("[-−–]", found["head"]) else ""
    if found["mixed"]:
        return sign + _mixed(found["full"], found["part"], found["parts"])
    if top := found["top"] or found["over"]:
        return sign + _mixed(found["ones"], top, found["bottom"] or found["below"])
    whole = re.sub(r"[^0-9]", "", found["whole"]) or "0"
    power = found["power"] or found["braced"] or found["digit"]
    under = f"/{found['under']}" if found["under"] else ""
    return f"{sign}{whole}{found['point'] or ''}{under}{f'e{int(power)}' if power else ''}"


def _mixed(ones: str | None, top: str, bottom: str) -> str:
    """A fraction, with what stands before it: ``1 1/2`` is ``3/2``."""
    return f"{int(ones) * int(bottom) + int(top)}/{bottom}" if ones else f"{top}/{bottom}"
