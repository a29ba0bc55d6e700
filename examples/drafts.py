"""What drafts bring: the same tasks with and without them, by turns, on a model and a number of workers.

    python examples/drafts.py --model qwen2.5-coder-1.5b-instruct --workers 1 2 4 --drafts 0 2 4 8

One line a task, number of workers and draft length: tokens a pass and worker, the share of the drafted tokens that
were right, milliseconds a pass, tokens a second, and how much faster than the first draft length of the list.
"""

from __future__ import annotations

import argparse
import time
from statistics import geometric_mean

from hogwild import Engine, Sampling, Team

CODE = """def parse_lines(lines):
    result = []
    for line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition("=")
        result.append((key.strip(), value.strip()))
    return result


def load_settings(path):
    with open(path) as file:
        pairs = parse_lines(file)
    settings = {}
    for key, value in pairs:
        if value.isdigit():
            settings[key] = int(value)
        elif value in ("true", "false"):
            settings[key] = value == "true"
        else:
            settings[key] = value
    return settings
"""
TASKS = {
    "edit code": f"Add type annotations to each function. Show the whole program.\n\n```python\n{CODE}```",
    "write code": "Write a Python class for a bounded queue with push, pop, peek and len, and tests for it.",
    "copy": f"Repeat this program without a change.\n\n```python\n{CODE}```",
    "explain": "Explain how vaccines work, and why some of them need to be repeated.",
    "story": "Write a short story about a lighthouse keeper who finds a letter in a bottle.",
}


def measure(engine: Engine, task: str, workers: int, drafts: int, passes: int, sampling: Sampling) -> dict[str, float]:
    """One run of so many passes: figures, and the tokens of the first worker."""
    team = Team(engine, task, workers, drafts=drafts, sampling=sampling, budget=passes, prompt="code")
    list(team.prepare())
    began, events = time.perf_counter(), []
    while not team.reason:
        events += team.step()
    seconds = time.perf_counter() - began
    tokens = sum(event.kind == "token" for event in events)
    drafter, done = team.drafter, max(team.passes, 1)
    team.close()
    return {
        "tokens a pass": tokens / done / workers,
        "right": drafter.right / max(drafter.guessed, 1),
        "ms a pass": 1e3 * seconds / done,
        "tokens/s": tokens / seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--drafts", type=int, nargs="+", default=[0, 4, 8])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--penalty", type=float, default=1.0)
    options = parser.parse_args()
    engine = Engine.load(options.model, check=False)
    sampling = Sampling(temperature=options.temperature, repetition_penalty=options.penalty)
    print(f"{engine.name}, {engine.dtype}, {options.passes} passes, temperature {options.temperature}")
    gains: dict[tuple[int, int], list[float]] = {}
    for workers in options.workers:
        measure(engine, "Hello", workers, max(options.drafts), 5, sampling)
        for name in options.tasks:
            base = 0.0
            for drafts in options.drafts:
                found = measure(engine, TASKS[name], workers, drafts, options.passes, sampling)
                base = base or found["tokens/s"]
                gains.setdefault((workers, drafts), []).append(found["tokens/s"] / base)
                figures = ", ".join(f"{key} {value:.2f}" for key, value in found.items())
                print(f"{name}, workers {workers}, drafts {drafts}: {figures}, {found['tokens/s'] / base:.2f} times")
    for (workers, drafts), factors in gains.items():
        print(f"workers {workers}, drafts {drafts}: {geometric_mean(factors):.2f} times, the geometric mean")


if __name__ == "__main__":
    main()
