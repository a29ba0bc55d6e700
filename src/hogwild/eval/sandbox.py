"""Run programs that a model wrote, with as little harm as this machine allows.

Always: a process of its own with `python -I`, no environment, an empty temporary folder, at most so much CPU time, wall
time, memory, file size, open files, processes and output; Python itself refuses to connect a socket and to start
another process; all that is left of it is killed. Where Linux lets us make namespaces (`isolation` says so): no network
at all, no other process in reach, and nothing of it outlives the run. As root it then runs as *nobody*, and writes
nowhere but into its folder.

Not guaranteed: that it cannot read files; without namespaces, that a process which leaves its group ends before its CPU
time does; that a program which searches for the nonce, or whose results claim to equal everything, is found out. Who
does not trust a model that far runs all of it in a virtual machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil

_JAIL = Path(__file__).with_name("jail.py")
_NOBODY = 65534
_KEPT = "-all,+dac_read_search"  # the interpreter may lie in a folder that only root can read


@dataclass(frozen=True)
class Limits:
    """What one run may take: wall ``seconds`` (CPU: one or two more), bytes, ``processes`` at once with threads."""

    seconds: float = 10.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20
    output_bytes: int = 1 << 16
    open_files: int = 64
    processes: int = 8


@dataclass(frozen=True)
class Ended:
    """How a run ended. ``passed``: its tests came to their end; ``why``: one line, if it failed; ``output``: cut."""

    passed: bool
    why: str
    output: str


def run_tests(program: str, tests: str, limits: Limits | None = None) -> Ended:
    """Run a program, and then its tests with the same names; an exception, or any early end, is a failure."""
    return _run({"program": program, "tests": tests, "name": "program"}, "", limits or Limits())


def run_program(program: str, given: str, limits: Limits | None = None) -> Ended:
    """Run a program that reads ``given``. ``passed`` is whether it ended well: who calls compares the output."""
    return _run({"program": program, "tests": None, "name": "__main__"}, given, limits or Limits())


@cache
def isolation() -> str:
    """What keeps programs from the network on this machine, in a few words."""
    return "no network: a namespace" if _prefix() else "no network: refused by Python only"


@cache
def _prefix() -> tuple[str, ...]:
    """The command that makes namespaces before Python starts, or nothing where that cannot be."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare is None:
        return ()
    spaces = (unshare, "--net", "--pid", "--ipc", "--fork", "--kill-child")
    command: tuple[str, ...]
    if os.getuid() != 0:
        command = (*spaces, "--user", "--map-root-user")
    elif setpriv is not None:
        who = ("--reuid", str(_NOBODY), "--regid", str(_NOBODY), "--clear-groups", "--no-new-privs")
        rights = ("--inh-caps", _KEPT, "--ambient-caps", _KEPT, "--bounding-set", _KEPT, "--pdeathsig", "KILL")
        command = (*spaces, setpriv, *who, *rights)
    else:
        return ()
    try:
        subprocess.run([*command, sys.executable, "-I", "-c", ""], check=True, capture_output=True, timeout=20, env={})
    except (OSError, subprocess.SubprocessError):
        return ()
    return command


def _run(job: dict[str, Any], given: str, limits: Limits) -> Ended:
    nonce = secrets.token_hex(32).encode()  # 64 bytes: what the jail reads at the end
    with (
        tempfile.TemporaryDirectory(prefix="hogwild-", ignore_cleanup_errors=True) as folder,
        _file(json.dumps(job)) as job_file,
        _file(given) as given_file,
    ):
        if os.getuid() == 0 and _prefix():
            os.chown(folder, _NOBODY, _NOBODY)
        report, told = os.pipe()
        secret, kept = os.pipe()
        try:
            os.write(kept, nonce)
            passed_on = (job_file.fileno(), told, secret)
            process = _start(folder, given_file, passed_on, limits)
            os.close(told)
            told = -1
            output, cut = _follow(process, limits)
            os.set_blocking(report, False)
            outcome = _read(report)
        finally:
            for pipe in (report, told, secret, kept):
                if pipe >= 0:
                    os.close(pipe)
    said = " ".join(outcome.decode(errors="replace").split())
    if job["tests"] is not None:
        passed = not cut and outcome == nonce
    else:
        passed = not cut and not said and process.returncode == 0
    why = cut or said or f"it ended before its tests did (exit code {process.returncode})"
    return Ended(passed, "" if passed else why, output.decode(errors="replace"))


def _file(text: str) -> IO[bytes]:
    """A file without a name that holds ``text``, to be read from its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text.encode(errors="replace"))
    file.seek(0)
    return file


def _start(folder: str, given: IO[bytes], files: tuple[int, int, int], limits: Limits) -> subprocess.Popen[bytes]:
    told = {
        # beyond the wall time, for what escapes it: a second that begins late must not end a loop before _follow does
        "cpu_seconds": math.ceil(limits.seconds) + 1,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
        "processes": limits.processes if _prefix() else limits.processes + _processes_of_user(),
    }
    python = (sys.executable, "-I", "-X", "utf8", str(_JAIL))
    return subprocess.Popen(
        [*_prefix(), *python, json.dumps(told), *map(str, files)],
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={},
        pass_fds=files,
        start_new_session=True,
    )


def _follow(process: subprocess.Popen[bytes], limits: Limits) -> tuple[bytes, str]:
    """The output, and why the program had to be stopped, if it had to. Nothing of it is left after this."""
    assert process.stdout is not None, "it is a pipe"
    output, end = bytearray(), time.monotonic() + limits.seconds
    with selectors.DefaultSelector() as selector, process.stdout as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        try:
            while (left := end - time.monotonic()) > 0:
                if not selector.select(min(left, 0.05)):
                    if process.poll() is not None:
                        return bytes(output), ""
                    continue
                piece = os.read(pipe.fileno(), 1 << 16)
                output += piece
                if len(output) > limits.output_bytes:
                    return bytes(output[: limits.output_bytes]), f"it wrote more than {limits.output_bytes} bytes"
                if not piece:
                    process.wait(left)
                    return bytes(output), ""
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill(process)
    return bytes(output), f"it took longer than {limits.seconds:g} s"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill its whole group; with that goes the namespace, and all that is in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(pipe: int) -> bytes:
    """What stands in a pipe, as far as it may be of use."""
    try:
        return os.read(pipe, 1 << 12)
    except BlockingIOError:
        return b""


def _processes_of_user() -> int:
    """Processes and threads of this user, which count against the limit where there is no namespace."""
    mine = os.getuid()
    count = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            count += process.num_threads() if process.uids().real == mine else 0
    return count
