"""The program around a program of the model: limits first, then the program, then its tests. It runs by itself.

    python -I jail.py LIMITS JOB REPORT NONCE        # LIMITS as JSON; three file descriptors

Only who gets to the end of the tests copies the nonce to the report. The nonce lies in a pipe until then, so that
neither an early exit nor anything printed can pass for success.
"""

import json
import os
import resource
import sys
from typing import Any


def limit(limits: dict[str, int]) -> None:
    """Set what this process may take; what is stricter already stays so."""
    for what, most in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


_PROCESSES = ("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen")


def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    """An audit hook, which no program can take away again: no sockets that lead anywhere, no other processes."""
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise PermissionError("programs under test have no network")
    if event in _PROCESSES:
        raise PermissionError("programs under test start no others")


def main() -> None:
    """See above."""
    limits, job_file, report, nonce = json.loads(sys.argv[1]), *map(int, sys.argv[2:5])
    with os.fdopen(job_file) as file:
        job = json.load(file)
    limit(limits)
    sys.addaudithook(refuse)
    sys.argv[:] = ["program.py"]
    read, write, leave = os.read, os.write, os._exit
    names = {"__name__": job["name"], "__builtins__": __builtins__}
    try:
        exec(compile(job["program"], "program.py", "exec"), names)  # noqa: S102
        if job["tests"] is None:
            sys.stdout.flush()
            return
        exec(compile(job["tests"], "tests.py", "exec"), names)  # noqa: S102
        outcome = read(nonce, 64)
    except BaseException as error:  # an early exit is no success, either
        outcome = f"{type(error).__name__}: {error}"[:300].encode(errors="replace")
        if job["tests"] is None and isinstance(error, SystemExit) and not error.code:
            outcome = b""
    write(report, outcome)
    sys.stdout.flush()
    leave(0)


main()
