"""Whether two formulas are the same, by math-verify in a process of its own that is killed when it takes too long."""

from __future__ import annotations

import atexit
import importlib.util
import json
import selectors
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from hogwild.errors import HogwildError, InputError

SECONDS = 10.0
"""Within this time two formulas are compared, or they are not the same. A usual comparison takes 5 milliseconds."""

_START_SECONDS = 60.0
_PROGRAM = Path(__file__).with_name("verifier.py")


def need_math_verify() -> None:
    """Raise `InputError` if the package is missing."""
    if importlib.util.find_spec("math_verify") is None:
        raise InputError("the package math-verify is missing: install 'hogwild[eval]'")


def verified(answer: str, right: str) -> bool:
    """What math-verify says of two formulas (no dollars around them). False after `SECONDS`. Any thread may call it."""
    return _verifier().compare(answer, right)


class Verifier:
    """The process, started when it is needed, and again after it was killed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def compare(self, answer: str, right: str) -> bool:
        """Whether math-verify finds both the same, in time and memory."""
        with self._lock:
            process = self._process or self._start()
            try:
                assert process.stdin is not None
                process.stdin.write(f"{json.dumps([answer, right])}\n")
                process.stdin.flush()
                reply = _line(process, self._seconds)
            except OSError:
                reply = ""
            if not reply:
                self._stop()
            return reply == "true\n"

    def close(self) -> None:
        """End the process. A later comparison starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[str]:
        need_math_verify()
        command = [sys.executable, "-P", str(_PROGRAM)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        if not _line(self._process, _START_SECONDS):
            self._stop()
            raise HogwildError(f"math-verify does not start: run {' '.join(command)} to see why")
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line that a process writes, or nothing when it ended or the time is over."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if waiting.select(seconds) else ""


@cache
def _verifier() -> Verifier:
    verifier = Verifier()
    atexit.register(verifier.close)
    return verifier
