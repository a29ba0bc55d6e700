"""Many teams at once against the same teams one after another: tokens per second, and whether the tokens are the same.

    python examples/many_teams.py --model smollm2-135m-instruct --teams 16 --workers 2 --budget 64

All of it counts: prompts, workers, answers. Both ways run on one engine in one process, by turns, each with no prompt
in memory; greedy, in float32 unless said otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

from hogwild import Engine, Event, Sampling, Team
from hogwild.schedule import Scheduler

TASKS = (
    "Why is the sky blue?",
    "Write a poem about a lighthouse.",
    "How do I cook rice without a lid?",
    "List five animals that live in the sea, and say what each of them eats.",
    "A train leaves at 9:40 and arrives at 11:05. How long does it take?",
    "Explain what a hash table is to a child.",
    "What should I pack for a week in the mountains?",
    "Compare tea and coffee.",
)
Written = dict[int, list[tuple[str, int]]]


def make(engine: Engine, number: int, options: argparse.Namespace) -> Team:
    """One of the teams."""
    task = f"{TASKS[number % len(TASKS)]} (Question {number + 1}.)"
    greedy = Sampling(temperature=0.0)
    return Team(engine, task, options.workers, budget=options.budget, sampling=greedy, answer_tokens=options.answer)


def collector(written: Written, number: int) -> Callable[[Event], None]:
    """Keeps who wrote which token."""
    tokens = written.setdefault(number, [])

    def collect(event: Event) -> None:
        if event.kind == "token":
            tokens.append((event.worker, event.token))
        elif event.kind == "answer_token":
            tokens.append(("answer", event.token))

    return collect


def one_after_another(engine: Engine, options: argparse.Namespace) -> Written:
    """As a program without a scheduler would do it."""
    written: Written = {}
    for number in range(options.teams):
        collect = collector(written, number)
        for event in make(engine, number, options).run():
            collect(event)
    return written


def together(engine: Engine, options: argparse.Namespace) -> Written:
    """All at once."""
    written: Written = {}
    scheduler = Scheduler(engine, max_teams=options.teams)
    for number in range(options.teams):
        scheduler.submit(make(engine, number, options), sink=collector(written, number))
    while scheduler.step():
        pass
    stats = scheduler.stats
    rows = stats.rows / max(stats.passes, 1)
    print(
        f"  {stats.passes} passes of {rows:.1f} rows, {1e3 * stats.pass_seconds / stats.passes:.1f} ms each in the "
        f"engine and {1e3 * stats.work_seconds / stats.passes:.1f} ms between; longest: {stats.longest_pass} tokens"
    )
    return written


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--teams", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--budget", type=int, default=64)
    parser.add_argument("--answer", type=int, default=16, help="tokens of each team's final answer at most")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    engine = Engine.load(options.model, dtype=options.dtype, check=False)
    print(f"{engine.name}, {engine.dtype}, {options.teams} teams of {options.workers}, {options.budget} passes each")
    ratios, same = list[float](), True
    for _ in range(options.repeat):
        rates, found = list[float](), list[Written]()
        for name, way in (("one after another", one_after_another), ("together", together)):
            engine.prefixes.clear()
            began = time.perf_counter()
            found.append(way(engine, options))
            seconds = time.perf_counter() - began
            count = sum(map(len, found[-1].values()))
            rates.append(count / seconds)
            print(f"{name}: {count} tokens in {seconds:.1f} s, {rates[-1]:.1f} tokens/s")
        ratios.append(rates[1] / rates[0])
        equal = sum(found[0][number] == found[1][number] for number in range(options.teams))
        same = same and equal == options.teams
        print(f"{ratios[-1]:.2f} times; the tokens of {equal} of {options.teams} teams are the same")
    print(f"{median(ratios):.2f} times, the median of {options.repeat}; all tokens the same: {'yes' if same else 'no'}")


if __name__ == "__main__":
    main()
