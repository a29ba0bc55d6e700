"""Many requests at once, some cancelled, some broken, more than the server can do: nothing may be lost or leak.

    python examples/soak.py                                      # 300 requests on the packaged model
    python examples/soak.py --requests 2000 --overload 4         # for as long as it takes

Starts ``hogwild serve`` in a process of its own. First one request after the other tells how many a second it can
sustain; then all kinds come at ``overload`` times that rate: chats and completions, streamed and whole, teams, JSON; a
tenth are cancelled at random points, one in twenty is malformed. At the end: every request that was accepted has
ended in an answer or a clear error, every page is back, no team is left, the memory of the server has not grown, and
it still answers. Prints one JSON object; the exit code is 1 if anything of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx2
import psutil

from hogwild.bench.load import chunks, error_code
from hogwild.bench.serve import Running, connect, started

CANCELLED, MALFORMED = 0.10, 0.05
GROWTH = 0.10
"""The share by which the server's memory may be larger after the second half of the load than after the first."""

PATIENCE = 600.0
"""Seconds after which a request that has not ended counts as hung."""

WRONG: list[Any] = [
    {"messages": []}, {"messages": "x"}, {"temperature": "hot"}, {"n": -1}, {"logit_bias": {"1": 1}}, {"model": "gpt"},
    {"hogwild": {"workers": 99}}, {"max_tokens": 10**9}, {"stop": [""]}, "no object",
]  # fmt: skip


@dataclass
class Result:
    """What became of a request. ``told`` is what the server said: ``answered``, a status with a code, or ``cut``."""

    kind: str
    told: str
    seconds: float


def request(chance: random.Random, model: str) -> tuple[str, str, Any]:
    """A kind, a path and a body, by chance."""
    if chance.random() < MALFORMED:
        wrong = chance.choice(WRONG)
        good = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        return "malformed", "/v1/chat/completions", wrong if isinstance(wrong, str) else good | wrong
    text = " ".join(chance.choice(("sun", "moon", "tree", "rain", "bird")) for _ in range(chance.randint(3, 60)))
    messages = [{"role": "user", "content": f"Tell me about {text}."}]
    tokens, seed = chance.randint(4, 32), chance.randrange(2**31)
    base: dict[str, Any] = {"model": model, "max_tokens": tokens, "seed": seed, "temperature": 0.8}
    team = {"model": f"hogwild-{chance.randint(2, 4)}/{model}", "hogwild": {"answer_tokens": 8}}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "chat": ("/v1/chat/completions", base | {"messages": messages}),
        "chat stream": ("/v1/chat/completions", base | {"messages": messages, "stream": True}),
        "n": ("/v1/chat/completions", base | {"messages": messages, "n": 2, "stream": True}),
        "team": ("/v1/chat/completions", base | team | {"messages": messages}),
        "team stream": ("/v1/chat/completions", base | team | {"messages": messages, "stream": True}),
        "completion": ("/v1/completions", base | {"prompt": text}),
        "response": ("/v1/responses", {"model": model, "input": text, "max_output_tokens": tokens, "seed": seed}),
        "json": ("/v1/chat/completions", base | {"messages": messages, "response_format": {"type": "json_object"}}),
        "watched": ("/v1/teams", {"task": text, "budget": tokens, "workers": 2, "answer_tokens": 8, "seed": seed}),
    }
    kind = chance.choice(list(kinds))
    return kind, *kinds[kind]


async def ask(client: httpx2.AsyncClient, kind: str, path: str, body: Any, cut_after: float | None) -> Result:
    """Send one request and follow it to its end, or leave it after a while."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE if cut_after is None else cut_after):
            told = await _follow(client, path, body)
    except TimeoutError:
        told = "hung" if cut_after is None else "cut"
    except (httpx2.HTTPError, OSError) as error:
        told = f"broken: {type(error).__name__}"
    return Result(kind, told, time.perf_counter() - began)


async def _follow(client: httpx2.AsyncClient, path: str, body: Any) -> str:
    async with client.stream("POST", path, json=body) as response:
        if response.status_code >= 400:
            return error_code(json.loads(await response.aread()), response.status_code)
        if not response.headers["content-type"].startswith("text/event-stream"):
            answer = json.loads(await response.aread())
            return await _watch(client, answer["id"]) if path == "/v1/teams" else "answered"
        last = None
        async for chunk in chunks(response):
            if "error" in chunk:
                return error_code(chunk, "stream")
            last = chunk
        return "answered" if last else "broken: an empty stream"


async def _watch(client: httpx2.AsyncClient, team: str) -> str:
    async with client.stream("GET", f"/v1/teams/{team}/events") as response:
        if response.status_code >= 400:
            return error_code(json.loads(await response.aread()), response.status_code)
        last = [chunk async for chunk in chunks(response)][-1]
    return "answered" if last["kind"] == "finished" else error_code(last, last["kind"])


async def sustainable(client: httpx2.AsyncClient, model: str, chance: random.Random) -> float:
    """Requests a second when 8 are open all the time."""
    began, count = time.perf_counter(), 0

    async def worker() -> None:
        nonlocal count
        while time.perf_counter() - began < 10:
            await ask(client, *request(chance, model), None)
            count += 1

    await asyncio.gather(*(worker() for _ in range(8)))
    return count / (time.perf_counter() - began)


async def soak(server: Running, wanted: argparse.Namespace) -> dict[str, Any]:
    """Offer the load, and look at the server while and after."""
    chance, process = random.Random(wanted.seed), psutil.Process(server.process.pid)
    async with connect(server.url) as client:
        rate = wanted.overload * await sustainable(client, server.model, chance)
        began, tasks, memory = time.perf_counter(), list[asyncio.Task[Result]](), list[int]()
        for number in range(wanted.requests):
            cut_after = chance.expovariate(1 / 3) if chance.random() < CANCELLED else None
            tasks.append(asyncio.create_task(ask(client, *request(chance, server.model), cut_after)))
            await asyncio.sleep(chance.expovariate(rate))
            if number % max(1, wanted.requests // 10) == 0:
                memory.append(process.memory_info().rss)
        results = await asyncio.gather(*tasks)
        seconds = time.perf_counter() - began
        memory.append(process.memory_info().rss)
        end = await leftovers(client)
        after = await ask(client, *_simple(server.model), None)
    return report(results, seconds, rate, memory, end, after)


def _simple(model: str) -> tuple[str, str, Any]:
    return "after", "/v1/completions", {"model": model, "prompt": "One, two,", "max_tokens": 4}


async def leftovers(client: httpx2.AsyncClient) -> dict[str, float]:
    """Pages and teams that are still there, once the last clients have been gone for a while."""
    for _ in range(100):
        lines = (await client.get("/metrics")).text.splitlines()
        found = {
            name: next(float(line.split()[1]) for line in lines if line.startswith(f"hogwild_scheduler_{name} "))
            for name in ("pages_used", "queued", "running", "paused")
        }
        if not any(found.values()):
            break
        await asyncio.sleep(0.2)
    return found


def report(
    results: list[Result], seconds: float, rate: float, memory: list[int], end: dict[str, float], after: Result
) -> dict[str, Any]:
    """All figures, and what of the promise does not hold."""
    told = Counter(result.told for result in results)
    middle, last = memory[len(memory) // 2], memory[-1]
    wrong: dict[str, float] = {
        name: count
        for name, count in told.items()
        if name.startswith(("hung", "broken", "500", "failed", "stream"))
        and not name.endswith(" expired")  # it was told that its time is over
    }
    wrong |= {f"left: {name}": value for name, value in end.items() if value}
    if last > middle * (1 + GROWTH):
        wrong["memory grew"] = last / middle
    if after.told != "answered":
        wrong[f"afterwards: {after.told}"] = 1
    malformed = [result for result in results if result.kind == "malformed" and result.told != "cut"]
    if not all(result.told.startswith("4") for result in malformed):
        wrong["malformed, but not refused"] = 1
    slowest = max(result.seconds for result in results)
    return {
        "requests": len(results), "seconds": round(seconds, 1), "offered_per_second": round(rate, 2),
        "told": dict(told), "kinds": dict(Counter(result.kind for result in results)), "slowest": round(slowest, 1),
        "memory_mib": [value >> 20 for value in memory], "left": end, "wrong": wrong,
    }  # fmt: skip


def main() -> int:
    """Run it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--overload", type=float, default=4.0, help="times the rate that the server can sustain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="for hogwild serve, after --")
    wanted = parser.parse_args()
    # A pool that is soon full, so that memory that grows afterwards is none of its.
    with started(wanted.model, ["--max-open", "1000000", "--kv-memory", "500MB", *wanted.options]) as server:
        found = asyncio.run(soak(server, wanted))
        found["log"] = server.log
    found["exit_code"] = server.process.returncode
    if found["exit_code"] != 0:
        found["wrong"]["exit code of the server"] = found["exit_code"]
    print(json.dumps(found, indent=2))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
