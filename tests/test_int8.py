"""Keys and values in 8 bits: the error is bounded, every path reads the same numbers, and blocks work as ever."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hogwild.attention import choose_attention, reference_attention
from hogwild.cache.int8 import pack, unpack
from hogwild.cache.pool import slot_bytes
from hogwild.engine import Engine, Row
from hogwild.engine.selftest import largest_difference
from hogwild.errors import OptionError
from tiny import ATTENTION, some_tokens, tiny_engine


@given(st.integers(0, 1000), st.sampled_from([1e-20, 1.0, 1e6]), st.integers(1, 40))
def test_a_number_is_off_by_half_a_step_at_most(seed: int, size: float, dim: int) -> None:
    rows = torch.randn(3, 5, dim, generator=torch.Generator().manual_seed(seed)) * size
    back = unpack(pack(rows), torch.float32)
    step = rows.abs().amax(-1, keepdim=True) / 127
    assert ((back - rows).abs() <= step * 0.50001).all()


def test_packing_again_changes_nothing() -> None:
    once = pack(torch.randn(4, 6, 16))
    assert torch.equal(unpack(pack(unpack(once, torch.float32)), torch.float32), unpack(once, torch.float32))


def test_zeros_stay_zeros() -> None:
    assert torch.equal(unpack(pack(torch.zeros(2, 3)), torch.float64), torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(unpack(torch.zeros(2, 7, dtype=torch.int8), torch.float32), torch.zeros(2, 3))  # a fresh page


def test_other_dtypes_are_given_back() -> None:
    rows = torch.randn(2, 3)
    assert unpack(rows, torch.bfloat16) is rows


@pytest.fixture(params=["Llama", "Gemma 3", "GPT-OSS", "DeepSeek V3"])
def engine8(request: pytest.FixtureRequest) -> Engine:
    return tiny_engine(request.param, kv_dtype="int8")


def grown(engine: Engine) -> list[Row]:
    """Rows over blocks with everything in them: prefilled, appended with a rotation, forked, cut."""
    common, a, b, c = (engine.block() for _ in range(4))
    engine.prefill([common], some_tokens(70, 1))
    engine.forward([Row([common, b, a], some_tokens(9, 2)), Row([common, a, b], some_tokens(20, 3))])
    engine.forward([Row([common, b, c], some_tokens(11, 4))])
    common.extend(c)
    a.truncate(5)
    return [Row([common, b, a], some_tokens(3, 5)), Row([common, a, b.fork(), b], [7])]


@pytest.mark.parametrize("attention", ATTENTION)
def test_every_path_reads_the_same_numbers(engine8: Engine, attention: str) -> None:
    rows, lengths = grown(engine8), []
    lengths = [len(row.own) for row in rows]
    engine8.attention = reference_attention
    theirs = engine8.forward(rows, all_positions=True)
    for row, length in zip(rows, lengths, strict=True):
        row.own.truncate(length)
    engine8.attention = choose_attention(attention, engine8.device, engine8.dtype)
    ours = engine8.forward(rows, all_positions=True)
    # What the layers write differs by roundings of float32 (1e-6 of the largest logit); near the middle between two
    # steps of 8 bits that is a whole step of one number, 1/127 of a key: its share in a logit is that of one number.
    assert largest_difference(ours, theirs) < 3e-3


def test_the_error_is_small_and_there() -> None:
    exact, rounded = tiny_engine("Llama"), tiny_engine("Llama", kv_dtype="int8")
    ours, theirs = (engine.forward(grown(engine), all_positions=True) for engine in (rounded, exact))
    assert 1e-5 < largest_difference(ours, theirs) < 0.1


def test_half_the_memory() -> None:
    layers = tiny_engine("Llama", check=False).pool.layers
    assert slot_bytes(layers, torch.int8) == 4 * 2 * 2 * (16 + 4)
    assert slot_bytes(layers, torch.bfloat16) == 4 * 2 * 2 * 16 * 2
    one, other = (tiny_engine("Llama", kv_dtype=kind, check=False).pool for kind in (None, "int8"))
    assert other.total_pages == one.total_pages * 64 // 20


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(OptionError, match="kv_dtype is 'int3': give one of int8, float32"):
        tiny_engine("Llama", kv_dtype="int3")
    assert tiny_engine("Llama", kv_dtype="float32", check=False).pool.stored == torch.float32
