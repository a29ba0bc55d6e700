"""A server in a process of its own, and load on it from this one."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx2

from hogwild.bench.load import PLAIN, TEAM, Limits, Load, Outcome, offer, summary
from hogwild.bench.report import Table
from hogwild.errors import HogwildError

END_SECONDS = 60.0
"""How long a server may take to end in good order."""

_SERVING = re.compile(r"serving (?P<model>.+) at (?P<url>http://\S+)")


@dataclass(frozen=True)
class Running:
    """A server that was started: what clients call its model, where it is, its process and its log."""

    model: str
    url: str
    process: subprocess.Popen[str]
    log: str


@contextmanager
def started(model: str, options: Sequence[str] = ()) -> Iterator[Running]:
    """Run ``hogwild serve`` on a free port of loopback; ended by SIGTERM. Raises `HogwildError` if it does not come up.

    Its log goes to a temporary file, of which the last line tells what is wrong.
    """
    command = [sys.executable, "-m", "hogwild", "serve", model, "--port", "0", *options]
    with tempfile.NamedTemporaryFile("w+", suffix=".log", prefix="hogwild-serve-", delete=False) as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        found = _SERVING.match(process.stdout.readline())
        if found is None:
            process.wait(END_SECONDS)
            raise HogwildError(f"the server did not start: {_last_line(log.name)}")
        yield Running(found["model"], found["url"], process, log.name)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _last_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as log:  # noqa: PTH123  a path as it came
        return (log.read().strip().splitlines() or ["it said nothing"])[-1]


def bench_serve(
    url: str, model: str, load: Load, limits: Limits, key: str | None, report: Callable[[str], None]
) -> dict[str, Any]:
    """Offer a load to the server at ``url``, and tell what came of it: all requests, and each kind."""
    outcomes, seconds = asyncio.run(_run(url, model, load, key, report))
    kinds = {"all": outcomes} | {kind: [one for one in outcomes if one.kind == kind] for kind in (PLAIN, TEAM)}
    figures = {name: summary(some, limits, seconds) for name, some in kinds.items() if some}
    return {"model": model, "load": asdict(load), "limits": asdict(limits), "seconds": seconds, "figures": figures}


async def _run(
    url: str, model: str, load: Load, key: str | None, report: Callable[[str], None]
) -> tuple[list[Outcome], float]:
    async with connect(url, key) as client:
        began = time.perf_counter()
        outcomes = await offer(client, load, model, report)
        return outcomes, time.perf_counter() - began


def connect(url: str, key: str | None = None) -> httpx2.AsyncClient:
    """A client that opens as many connections as there are requests, and waits as long as it takes."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    everything = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx2.AsyncClient(base_url=url, headers=headers, limits=everything, timeout=None, trust_env=False)


def serve_table(result: dict[str, Any]) -> Table:
    """A line for each kind of request."""
    columns = (
        "requests", "number", "answered", "failed", "first token s p50/p90/p99", "between tokens ms p50/p90/p99/max",
        "whole s p50/p90/p99", "tokens/s", "good/s",
    )  # fmt: skip
    rows = tuple(_row(name, figures) for name, figures in result["figures"].items())
    load = result["load"]
    title = (
        f"{result['model']}: {load['rate']:g} requests/s for {load['seconds']:g} s, {load['teams']:.0%} teams of "
        f"{load['workers']}, {load['tokens']} passes each, seed {load['seed']}"
    )
    return Table(title, columns, rows)


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    failed = ", ".join(f"{count} {code}" for code, count in figures["failures"].items())
    return (
        name,
        str(figures["requests"]),
        str(figures["answered"]),
        failed or "0",
        _shown(figures["first_token_seconds"], 1, ("p50", "p90", "p99"), 2),
        _shown(figures["inter_token_seconds"], 1e3, ("p50", "p90", "p99", "max"), 0),
        _shown(figures["end_to_end_seconds"], 1, ("p50", "p90", "p99"), 1),
        f"{figures['tokens_per_second']:.1f}",
        f"{figures['goodput_per_second']:.2f}",
    )


def _shown(found: dict[str, float], unit: float, names: Sequence[str], digits: int) -> str:
    return " / ".join(f"{found[name] * unit:.{digits}f}" for name in names) if found else "–"
