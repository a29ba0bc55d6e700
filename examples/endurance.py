"""Eight workers for 300 passes: does the time of a pass, or the memory, grow beyond what it should?

    python examples/endurance.py --workers 8 --budget 300 --kv-memory 536870912

Prints the median time of a pass and the tokens in the cache for each 50 passes, next to the time of a pass of the same
rows over an empty history and over one of the same length that was read in one piece: what attention must cost. Then
the resident memory against its bound, weights + kv_memory + 500 MB.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import psutil

from hogwild import Block, Engine, Row, Sampling, Team

MEGABYTE = 1 << 20


def fresh_pass(engine: Engine, history: int, steps: list[int], repeats: int = 9) -> float:
    """Median seconds of a pass of one token for each worker, over blocks of these lengths made in one piece."""
    common, blocks = engine.block(), [engine.block() for _ in steps]
    if history:
        engine.prefill([common], [7] * history)
    for block, length in zip(blocks, steps, strict=True):
        engine.prefill([common, block], [7] * max(length, 1))
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        engine.forward([Row(_view(common, blocks, own), [9]) for own in blocks])
        took.append(time.perf_counter() - began)
    for block in (common, *blocks):
        block.free()
    return median(took)


def _view(common: Block, blocks: list[Block], own: Block) -> list[Block]:
    return [common, *(block for block in blocks if block is not own), own]


def main() -> None:
    """Run the team and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--kv-memory", type=int, default=512 * MEGABYTE)
    options = parser.parse_args()
    engine = Engine.load(options.model, kv_memory=options.kv_memory)
    weights = sum(tensor.nbytes for tensor in (*engine.model.parameters(), *engine.model.buffers()))  # packed ones too
    team = Team(
        engine,
        "Write down everything that you know about the sea.",
        options.workers,
        budget=options.budget,
        sampling=Sampling(temperature=1.0, top_p=0.95),
    )
    for _ in team.prepare():
        pass
    process, peak, took = psutil.Process(), 0, list[float]()
    print("passes      ms a pass   tokens in history + steps   same shape in one piece   empty")
    empty = fresh_pass(engine, 0, [1] * options.workers)
    while not team.reason:
        began = time.perf_counter()
        team.step()
        took.append(time.perf_counter() - began)
        peak = max(peak, process.memory_info().rss)
        space = team.space
        if space is not None and team.passes % 50 == 0 and not team.reason:
            history = len(space.prompt) + len(space.history)
            steps = [len(member.block) for member in space.members]
            alike = fresh_pass(engine, history, steps)
            print(
                f"{team.passes:6}   {1e3 * median(took[-50:]):10.1f}   {history:10} + {sum(steps):5}"
                f"   {1e3 * alike:23.1f}   {1e3 * empty:5.1f}",
                flush=True,
            )
    team.close()
    bound = weights + options.kv_memory + 500 * MEGABYTE
    print(
        f"resident memory at most {peak / MEGABYTE:.0f} MB; bound {bound / MEGABYTE:.0f} MB "
        f"(weights {weights / MEGABYTE:.0f} + pool {options.kv_memory / MEGABYTE:.0f} + 500)"
    )


if __name__ == "__main__":
    main()
