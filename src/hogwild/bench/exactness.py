"""Is every attention path exact on this device? Random numbers through each, against the definition in float64.

Legend: H query heads, K KV heads, D key size, V value size, T new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hogwild.attention import AttentionFunction, Plan, Reading, choose_attention, reference_attention
from hogwild.attention.tolerance import tolerance
from hogwild.bench.random_models import random_model
from hogwild.cache import Block, Pool
from hogwild.cache.pool import slot_bytes
from hogwild.engine import Engine, Row
from hogwild.errors import HogwildError, InputError
from hogwild.geometry import Layer, Pairing, Rotary

HEADS = ((64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256))
"""Sizes of keys and values, each tried with a plain layer; the features are tried with the first."""

Lengths = tuple[int, ...]
Views = tuple[tuple[tuple[int, ...], int], ...]
"""Of each row: the numbers of the blocks that it views, its own last, and how many of its tokens are new."""

VIEWS: Views = (((0, 2, 3, 1), 1), ((0, 1, 3, 2), 5), ((3, 1, 0), 1), ((0, 1, 2, 3), 1))
LONG: Lengths = (1500, 70, 33, 150)
SHORT: Lengths = (70, 3, 20, 17)  # for the interpreter, which takes a thousand times as long


@dataclass(frozen=True)
class Outcome:
    """One comparison. ``difference`` is the largest of any number of the output, ``allowed`` what rounding explains.

    ``reason``: why there was nothing to compare; ``failed`` tells whether that is a fault.
    """

    path: str
    dtype: str
    heads: str
    case: str
    difference: float = 0.0
    allowed: float = 0.0
    reason: str = ""
    failed: bool = False

    @property
    def verdict(self) -> str:
        """``pass``, ``FAIL``, or ``left out``."""
        if self.failed or not self.difference <= self.allowed:  # not a number is no pass
            return "FAIL"
        return "left out" if self.reason else "pass"


def paths(device: torch.device) -> tuple[str, ...]:
    """The paths that can be on a device, the fastest first."""
    return ("triton", "varlen", "plain") if device.type == "cuda" else ("fused", "triton", "plain")


def check_attention(device: torch.device, *, short: bool) -> Iterator[Outcome]:
    """Every path, dtype, head size and feature; ``short`` for a few of each on blocks of a few tokens."""
    dtypes = (torch.float32, torch.bfloat16) if short else (torch.float32, torch.float16, torch.bfloat16)
    for path in paths(device):
        for dtype in dtypes:
            name = str(dtype).removeprefix("torch.")
            try:
                function = choose_attention(path, device, dtype)
            except InputError as error:
                yield Outcome(path, name, "all", "all", reason=str(error))
                continue
            for case, layer in cases(HEADS[:5:2] if short else HEADS):
                layout = SHORT if short else LONG
                yield _check(Outcome(path, name, _sizes(layer), case), function, layer, dtype, device, layout)


def cases(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Layer]]:
    """What is tried, by name."""
    for key_dim, value_dim in sizes:
        yield "plain", _layer(key_dim, value_dim)
    first = _layer(*sizes[0])
    yield "one query head a KV head", replace(first, heads=2)
    yield "7 query heads a KV head", replace(first, heads=14)
    yield "interleaved rotation", _layer(*sizes[0], pairing="interleaved")
    yield "no positions", replace(first, rotary=None)
    yield "window", replace(first, window=61)
    yield "soft cap", replace(first, softcap=5.0)
    yield "sinks", replace(first, sinks=torch.linspace(-2, 4, first.heads))
    yield "all at once", replace(first, window=61, softcap=5.0, sinks=torch.linspace(-2, 4, first.heads))


def _layer(key_dim: int, value_dim: int, pairing: Pairing = "half") -> Layer:
    rotary = Rotary(torch.logspace(0, -4, key_dim // 2, dtype=torch.float64), pairing)
    return Layer(heads=6, kv_heads=2, key_dim=key_dim, value_dim=value_dim, scale=key_dim**-0.5, rotary=rotary)


def _sizes(layer: Layer) -> str:
    return str(layer.key_dim) if layer.key_dim == layer.value_dim else f"{layer.key_dim}/{layer.value_dim}"


def _check(
    outcome: Outcome,
    function: AttentionFunction,
    layer: Layer,
    dtype: torch.dtype,
    device: torch.device,
    lengths: Lengths,
) -> Outcome:
    """The comparison of one case. What a path does not do is left out, whatever else goes wrong is a failure."""
    if layer.sinks is not None:
        layer = replace(layer, sinks=layer.sinks.to(device))
    pool, plan, query = made(layer, dtype, device, lengths)
    given = (query, layer, pool.keys[0], pool.values[0], plan)
    try:
        ours = function(*given)
        difference = float((ours.double() - reference_attention(*given).double()).abs().max())
    except HogwildError as error:
        return replace(outcome, reason=str(error))
    except Exception as error:  # a compiler or a driver may fail in any way: it is told, and the rest is still tried
        line = (str(error).splitlines() or [""])[0]
        return replace(outcome, reason=f"{type(error).__name__}: {line[:200]}", failed=True)
    return replace(outcome, difference=difference, allowed=tolerance(*given))


def made(layer: Layer, dtype: torch.dtype, device: torch.device, lengths: Lengths) -> tuple[Pool, Plan, Tensor]:
    """Random keys and values in blocks of ``lengths`` tokens, the plan of a pass over them, and a query [H, T, D]."""
    memory = slot_bytes([layer], dtype) * 64 * (sum(-(-length // 64) for length in lengths) + 16)
    pool = Pool([layer], memory, dtype=dtype, device=device, max_positions=sum(lengths))
    generator, blocks = torch.Generator().manual_seed(0), list[Block]()
    for length in lengths:
        block = Block(pool)
        slots = block.reserve(length)
        for tensor in (pool.keys[0], pool.values[0]):
            random = torch.randn(tensor.shape[0], length, tensor.shape[2], generator=generator)
            tensor[:, slots] = random.to(device, dtype)
        block.commit(range(length))
        blocks.append(block)
    readings = [
        Reading(tuple(blocks[number] for number in view), tuple(lengths[number] for number in view), count)
        for view, count in VIEWS
    ]
    ends = [(blocks[view[-1]], lengths[view[-1]], count) for view, count in VIEWS]
    plan = Plan(readings, torch.cat([block.slots(length - count, length) for block, length, count in ends]))
    query = torch.randn(layer.heads, plan.tokens, layer.key_dim, generator=generator)
    return pool, plan, query.to(device, dtype)


def check_models(device: torch.device) -> Iterator[Outcome]:
    """Small random models, whole: the self-test by the Triton kernels, then CUDA graphs against none."""
    for dtype in (torch.float32, torch.bfloat16):
        for shape, size in (("small-64", "64"), ("small-128", "128")):
            outcome = Outcome("triton", str(dtype).removeprefix("torch."), size, "a small random model")
            try:
                engine = Engine.load(random_model(shape, dtype, device), attention="triton", kv_memory=64 << 20)
            except Exception as error:  # as above
                line = (str(error).splitlines() or [""])[0]
                yield replace(outcome, reason=f"{type(error).__name__}: {line[:200]}", failed=True)
                continue
            assert engine.report is not None, "it was asked to check"
            yield replace(outcome, difference=engine.report.difference, allowed=engine.report.tolerance)
            yield replace(check_graphs(engine), heads=size)


def check_graphs(engine: Engine, passes: int = 8) -> Outcome:
    """Passes through a CUDA graph against the same passes without, on a loaded engine; the engine keeps its graphs.

    Four workers that read each other write a few tokens. The logits may differ as rounding makes them differ when a
    product has another size: by `GRAPH_TOLERANCE` of the largest.
    """
    dtype = str(engine.dtype).removeprefix("torch.")
    outcome = Outcome("triton", dtype, "the model's", "CUDA graphs", allowed=GRAPH_TOLERANCE[engine.dtype])
    usual = _written(engine, passes)
    try:
        engine.use_fixed_passes()
        recorded = _written(engine, passes)
    except HogwildError as error:
        return replace(outcome, reason=str(error), failed=True)
    except RuntimeError as error:
        return replace(outcome, reason=(str(error).splitlines() or [""])[0][:200], failed=True)
    return replace(outcome, difference=float((recorded - usual).abs().max() / usual.abs().max()))


GRAPH_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def _written(engine: Engine, passes: int) -> Tensor:
    """The logits [passes, workers, vocab] of four workers that write given tokens."""
    common, workers = engine.block(), [engine.block() for _ in range(4)]
    engine.prefill([common], [token % engine.vocab_size for token in range(100, 400)])
    views = [[common, *(other for other in workers if other is not own), own] for own in workers]
    logits = [
        engine.forward([Row(view, [(7 * number + turn) % engine.vocab_size]) for number, view in enumerate(views)])
        for turn in range(passes)
    ]
    for block in (common, *workers):
        block.free()
    return torch.stack(logits).float()
