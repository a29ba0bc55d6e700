r"""The program that compares formulas with math-verify, in a process of its own: ``python verifier.py``.

A formula may be a monster: ``9^{9^{9^9}}`` never ends in sympy, takes all memory, and no signal stops it. This process
can be killed. One line of JSON comes in, ``[answer, right]``; one comes out, ``true`` or ``false``. It says ``"ready"``
once. It imports nothing of Hogwild, so it starts in a second.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys

MEMORY = 4 << 30
"""Bytes of address space that this process may take."""


def compare(answer: str, right: str) -> bool:
    """What math-verify says of two formulas, each without the dollars around it. Its time limits are off."""
    from math_verify import parse, verify

    try:
        gold, found = (parse(f"${text}$", parsing_timeout=None) for text in (right, answer))
        return bool(gold and found and verify(gold, found, timeout_seconds=None))
    except (Exception, RecursionError, MemoryError):  # whatever a parser makes of what a model wrote
        return False


def _main() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()  # its warnings that the time limits are off
    with contextlib.redirect_stdout(sys.stderr):
        compare("1", "1")
    answers = sys.stdout
    answers.write('"ready"\n')
    answers.flush()
    for line in sys.stdin:
        answer, right = json.loads(line)
        answers.write(f"{json.dumps(compare(answer, right))}\n")
        answers.flush()


if __name__ == "__main__":
    _main()
