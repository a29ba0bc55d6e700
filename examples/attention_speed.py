"""Attention of some workers to one shared context, in ms a layer: our kernel, and the ways that were not taken.

    python examples/attention_speed.py [--heads 12 --kv-heads 2 --dim 128] [--workers 1,4,8] [--contexts 1024,4096]

Keys and values are bfloat16 and lie beyond the cache: as many layers as fill it are read in turn. All ways take turns
in every round; the figure is the median of the rounds. numba takes part where it is installed; Inductor is
torch.compile of the products that plain attention is made of, and needs a C++ compiler. "sdpa" gives each worker a
copy, as batched decoding does. Before anything is timed, each way is compared with the first one.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hogwild import native
from hogwild.attention.choose import choose_attention
from hogwild.attention.plan import Plan
from hogwild.bench.machine import Machine, read_bandwidth
from hogwild.cache import Block, Pool
from hogwild.cache.pool import slot_bytes
from hogwild.engine.passes import Row, plan_pass, reserve
from hogwild.geometry import Layer

BEYOND_CACHE = 128 << 20  # bytes of keys and values that are read before any is read again
TILE = 64  # keys that numba's loops convert at a time


@dataclass(frozen=True)
class Case:
    """``query`` [H, T, D] of T workers, for keys and values [K, slots, D] of which the first ``context`` are shared."""

    query: Tensor
    layer: Layer
    plan: Plan
    context: int


Way = Callable[[Case, Tensor, Tensor], Tensor]
"""From a case, keys and values to [T, H, D]."""


def named(name: str) -> Way:
    """One of the project's own functions."""

    def call(case: Case, keys: Tensor, values: Tensor) -> Tensor:
        function = choose_attention(name, torch.device("cpu"), torch.bfloat16, [case.layer])
        return function(case.query, case.layer, keys, values, case.plan)

    return call


def products(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Queries [K, rows, D] on keys and values [K, C, D] in two products and a softmax."""
    scores = (query @ keys.transpose(1, 2)).float() * scale
    return torch.softmax(scores, -1).to(values.dtype) @ values


def by(product: Callable[..., Tensor]) -> Way:
    """`products`, or what a compiler makes of it."""

    def call(case: Case, keys: Tensor, values: Tensor) -> Tensor:
        heads, tokens, dim = case.query.shape
        shared = case.query.reshape(len(keys), -1, dim)
        out = product(shared, keys[:, : case.context], values[:, : case.context], case.layer.scale)
        return out.view(heads, tokens, dim).transpose(0, 1)

    return call


def copies(case: Case, keys: Tensor, values: Tensor) -> Tensor:
    """As in batched decoding. The copies are views of one, which flatters it: there is less to read."""
    query = case.query.transpose(0, 1)[:, :, None]  # [T, H, 1, D]
    k, v = (x[None, :, : case.context].expand(len(query), -1, -1, -1) for x in (keys, values))
    out = torch.nn.functional.scaled_dot_product_attention(query, k, v, scale=case.layer.scale, enable_gqa=True)
    return out[:, :, 0]


def gather(query: Any, k: Any, v: Any, count: int, best: Any, total: Any, mixed: Any) -> None:
    """All rows of ``query`` [rows, D] over ``count`` keys and values: an online softmax. For numba."""
    rows, dim = query.shape
    scores = np.empty(TILE, np.float32)
    for row in range(rows):
        high = best[row]
        for i in range(count):
            score = np.float32(0.0)
            for d in range(dim):
                score += query[row, d] * k[i, d]
            scores[i] = score
            high = max(high, score)
        shrink = np.exp(best[row] - high)
        best[row] = high
        total[row] *= shrink
        for d in range(dim):
            mixed[row, d] *= shrink
        for i in range(count):
            weight = np.exp(scores[i] - high)
            total[row] += weight
            for d in range(dim):
                mixed[row, d] += weight * v[i, d]


def by_numba() -> Way:
    """Loops that numba compiles: parallel over KV heads and runs of keys, float32 inside, merged at the end."""
    numba = importlib.import_module("numba")
    tile = numba.njit(fastmath=True)(gather)

    def loops(query: Any, keys: Any, values: Any, context: int, splits: int, best: Any, total: Any, mixed: Any) -> None:
        heads, _, dim = query.shape
        step = (context + splits * TILE - 1) // (splits * TILE) * TILE
        for item in numba.prange(heads * splits):
            head, first = item // splits, item % splits * step
            k, v = np.empty((TILE, dim), np.uint32), np.empty((TILE, dim), np.uint32)
            for begin in range(first, min(first + step, context), TILE):
                count = min(TILE, context - begin)
                for i in range(count):  # numba knows no bfloat16: its bits are the upper ones of float32
                    for d in range(dim):
                        k[i, d] = np.uint32(keys[head, begin + i, d]) << np.uint32(16)
                        v[i, d] = np.uint32(values[head, begin + i, d]) << np.uint32(16)
                tile(query[head], k.view(np.float32), v.view(np.float32), count, best[item], total[item], mixed[item])

    attend = numba.njit(parallel=True, fastmath=True)(loops)

    def call(case: Case, keys: Tensor, values: Tensor) -> Tensor:
        heads, tokens, dim = case.query.shape
        kv_heads, splits = len(keys), 4
        query = (case.query.reshape(kv_heads, -1, dim).float() * case.layer.scale).numpy()
        shape = (kv_heads * splits, query.shape[1])
        best, total = np.full(shape, -1e30, np.float32), np.zeros(shape, np.float32)
        mixed = np.zeros((*shape, dim), np.float32)
        bits = (keys.view(torch.uint16).numpy(), values.view(torch.uint16).numpy())
        attend(query, *bits, case.context, splits, best, total, mixed)
        highest = best.reshape(kv_heads, splits, -1)
        shares = np.exp(highest - highest.max(1, keepdims=True))  # [K, splits, rows]
        sums = (total.reshape(shares.shape) * shares).sum(1)
        out = (mixed.reshape(*shares.shape, dim) * shares[..., None]).sum(1) / sums[..., None]
        return torch.from_numpy(out).bfloat16().view(heads, tokens, dim).transpose(0, 1)

    return call


def ways() -> dict[str, Way]:
    """Everyone that can be had here."""
    found: dict[str, Way] = {}
    if (used := native.instructions()) is not None:
        found[f"kernel, {used}"] = named("fused")
    found["plain attention"] = named("plain")
    if importlib.util.find_spec("numba") is not None:
        found["numba"] = by_numba()
    found["Inductor"] = by(torch.compile(products, dynamic=True))
    found["sdpa"] = copies
    return found


def set_up(layer: Layer, layers: int, context: int, workers: int) -> tuple[Pool, Case]:
    """A pool full of random numbers, and workers that each add one token to a block of their own."""
    memory = (context + 64 * workers + 128) * slot_bytes([layer] * layers, torch.bfloat16)
    pool = Pool([layer] * layers, memory, dtype=torch.bfloat16, device=torch.device("cpu"), max_positions=context + 64)
    common = Block(pool)
    common.reserve(context)
    common.commit([0] * context)
    rows = [Row([common, Block(pool)], [0]) for _ in range(workers)]
    plan = plan_pass(rows, reserve(rows, pool))
    for tensor in (*pool.keys, *pool.values):
        tensor.normal_()
    query = torch.randn(workers, layer.heads, layer.key_dim).bfloat16().transpose(0, 1)
    return pool, Case(query, layer, plan, context)


@torch.inference_mode()
def table(options: argparse.Namespace) -> Iterator[str]:
    """The table, line by line."""
    layer = Layer(options.heads, options.kv_heads, options.dim, options.dim, options.dim**-0.5)
    yield f"{Machine.here()}; reading alone: {read_bandwidth() / 1e9:.1f} GB/s"
    every = ways()
    yield f"| context | workers | {' | '.join(every)} |"
    yield "| --- " * (len(every) + 2) + "|"
    for context in map(int, options.contexts.split(",")):
        layers = max(2, BEYOND_CACHE // (4 * context * layer.kv_heads * layer.key_dim))
        for workers in map(int, options.workers.split(",")):
            pool, case = set_up(layer, layers, context, workers)
            pairs = list(zip(pool.keys, pool.values, strict=True))
            first = next(iter(every.values()))(case, *pairs[0])
            for name, way in every.items():  # the token of one's own makes one in `context` of the difference
                worst = (way(case, *pairs[0]).float() - first.float()).abs().max()
                assert worst < 0.05, f"{name} is {worst:.3f} off"
            taken: dict[str, list[float]] = {name: [] for name in every}
            for _ in range(options.rounds):
                for name, way in every.items():
                    taken[name].append(_seconds(way, case, pairs))
            cells = [f"{1e3 * statistics.median(times):.2f}" for times in taken.values()]
            yield f"| {context:,} | {workers} | {' | '.join(cells)} |"


def _seconds(way: Way, case: Case, pairs: list[tuple[Tensor, Tensor]]) -> float:
    start = time.perf_counter()
    for keys, values in pairs:
        way(case, keys, values)
    return (time.perf_counter() - start) / len(pairs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--workers", default="1,4,8")
    parser.add_argument("--contexts", default="1024,4096")
    parser.add_argument("--rounds", type=int, default=9)
    for line in table(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
