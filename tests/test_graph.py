"""Passes through buffers that stay where they are: the same logits, and nothing that a CUDA graph could miss.

On a card they are recorded and replayed (CONTRIBUTING.md); without one, what that relies on is tested launch by launch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from hogwild.attention import plain_attention
from hogwild.attention.buffers import Bucket, Buffers, next_power
from hogwild.attention.tables import make_tables
from hogwild.attention.triton_path import TritonAttention, kind_of
from hogwild.engine import Block, Engine, Row, graph
from hogwild.engine.selftest import largest_difference
from hogwild.errors import OptionError
from test_plan import LAYERS, RAGGED, case
from tiny import DEVICE, some_tokens, tiny_engine


def fixed(name: str) -> Engine:
    made = tiny_engine(name, check=False, attention="triton")
    made.use_fixed_passes(capture=DEVICE.type == "cuda" and name != "GPT-OSS")  # its experts ask the CPU
    return made


@pytest.fixture(autouse=True)
def short_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MOST_TOKENS", 8)


def read(engine: Engine, tokens: list[int]) -> Block:
    """A block of these tokens, by plain attention: the interpreter is slow."""
    usual, engine.attention = engine.attention, plain_attention
    block = engine.block()
    engine.prefill([block], tokens)
    engine.attention = usual
    return block


def passes(engine: Engine, count: int = 2) -> list[torch.Tensor]:
    """Workers that read each other: ragged rows first, then a token each."""
    common, a, b = read(engine, some_tokens(20)), engine.block(), engine.block()
    logits = [
        engine.forward([Row([common, b, a], some_tokens(3, 1), drafts=2), Row([common, a, b], some_tokens(2, 2))])
    ]
    for number in range(count):
        logits.append(engine.forward([Row([common, b, a], [number]), Row([b, a, common], [number + 9])]))
        common.truncate(20)
    return logits


@pytest.mark.parametrize("name", ["Llama", "GPT-OSS"])
def test_padded_passes_give_the_same_logits(name: str) -> None:
    made = fixed(name)
    ours = passes(made)
    assert made._fixed is not None
    assert made._fixed.buckets  # they did go that way
    for mine, theirs in zip(ours, passes(tiny_engine(name, check=False)), strict=True):
        assert mine.shape == theirs.shape
        assert largest_difference(mine, theirs) <= 1e-4


@pytest.mark.skipif(DEVICE.type == "cuda", reason="a replay calls nothing that could be watched")
def test_nothing_moves_between_the_passes_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor that the kernels and the model are given: the same address and shape, in every pass of a bucket."""
    made = fixed("Llama")
    assert made._fixed is not None
    seen: dict[Bucket, list[Any]] = {}
    launch = graph.launch  # type: ignore[attr-defined]

    def watched(query: Any, layer: Any, keys: Any, values: Any, tables: Any) -> Any:
        rotations = [tensor for turns in tables.rotations.values() for tensor in (turns.cos, turns.sin, turns.swap)]
        inputs = (keys, values, tables.pages, tables.splits, tables.turns, tables.places, tables.ends, *rotations)
        calls.append((query.shape, tables.entries, *((x.data_ptr(), x.shape) for x in inputs)))
        return launch(query, layer, keys, values, tables)

    forward = made._fixed._forward

    def model(ids: Any, positions: Any, ends: Any, current: Any) -> Any:
        slots = current.plan.slots
        calls.append([(x.data_ptr(), x.shape) for x in (ids, positions, ends, slots)])
        return forward(ids, positions, ends, current)

    monkeypatch.setattr(graph, "launch", watched)
    made._fixed._forward = model
    calls: list[Any] = []
    common, a, b = read(made, some_tokens(61)), made.block(), made.block()
    for number in range(5):  # the common block grows over the end of its page
        calls = []
        made.forward([Row([common, b, a], [number]), Row([a, b, common], [number])])
        (bucket,) = made._fixed.buckets[-1:]
        assert seen.setdefault(bucket, calls) == calls
    assert len(seen) == 1


def test_buckets_are_few() -> None:
    holding = {
        Bucket.holding(tokens, blocks, 60, tokens * 3, 8, 4) for tokens in range(1, 17) for blocks in range(2, 17)
    }
    assert len(holding) == 5 * 2
    assert [Bucket.holding(n, 1, 1, 1, 8, 4).tokens for n in (64, 65, 129, 150)] == [64, 128, 192, 192]
    assert [next_power(n) for n in (0, 1, 2, 3, 4, 5, 64, 65)] == [1, 1, 2, 4, 4, 8, 64, 128]


def test_buffers_hold_the_tables_and_what_fills_up_does_nothing() -> None:
    made = case(LAYERS["all at once"], [40, 5, 17, 33], RAGGED, torch.float32, 16)
    kind = kind_of(made.layer)
    assert kind is not None
    bucket = Bucket.holding(made.plan.tokens, 4, 10, len(made.plan.ends), 3, 64)
    buffers = Buffers(bucket, [kind], torch.tensor([4, 5]), 16, DEVICE)
    tables = make_tables(made.plan, 3)
    for _ in range(2):  # what an earlier pass left behind does not matter
        ids = list(range(1, made.plan.tokens + 1))
        buffers.fill(tables, ids, *made.plan.on_cpu, [4, 5, 7, 10])
        assert buffers.ids.tolist() == [ids + [0] * (bucket.tokens - len(ids))]
        assert buffers.slots.tolist() == [*made.plan.slots.tolist(), 5, 4, 5, 4, 5]
        assert buffers.last.tolist()[:4] == [4, 5, 7, 10]
        assert np.array_equal(buffers.tables.splits[: len(tables.splits)].cpu().numpy(), tables.splits)
        assert not buffers.tables.splits[len(tables.splits) :].any()
        buffers.turn()
        query = torch.cat([made.query, torch.ones(4, bucket.tokens - len(ids), 16, device=DEVICE)], 1)
        out = graph.launch(query, made.layer, made.pool.keys[0], made.pool.values[0], buffers.tables)  # type: ignore[attr-defined]
        assert torch.allclose(out[: len(ids)], made.by(TritonAttention(3)), atol=1e-6)
        assert not out[len(ids) :].any()  # a token that reads nothing, and finite numbers for the next layer
        short = case(LAYERS["all at once"], [40, 5, 17, 33], RAGGED[:1], torch.float32, 16)
        buffers.fill(make_tables(short.plan, 1), [1] * 5, *short.plan.on_cpu, [4])


def test_long_passes_go_the_usual_way() -> None:
    made = fixed("Llama")
    read(made, some_tokens(9))
    assert made._fixed is not None
    assert made._fixed.buckets == ()


def test_where_graphs_cannot_be_is_told() -> None:
    with pytest.raises(OptionError, match="graphs are for CUDA, and the model is on cpu"):
        tiny_engine(check=False, device="cpu", attention="plain", graphs=True)
    with pytest.raises(OptionError, match="graphs need attention='triton'"):
        tiny_engine(check=False, attention="plain").use_fixed_passes(capture=False)
