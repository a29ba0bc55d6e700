"""The Triton kernels equal the reference, in Triton's interpreter on the CPU. No GPU has run them.

What the interpreter does not see, the compiler does: the kernels are compiled for GPUs that are not here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from hogwild.attention import plain_attention, reference_attention
from hogwild.attention.tables import BEGIN, END, FIRST_PAGE, FIRST_PAIR, FIRST_TOKEN, TOKENS, make_tables
from hogwild.attention.tolerance import tolerance
from hogwild.attention.triton_kernel import INTERPRETED
from hogwild.attention.triton_path import TritonAttention, check_supported
from hogwild.cache.int8 import pack
from hogwild.engine import Row
from hogwild.engine.selftest import largest_difference
from hogwild.errors import ModelUnsupported
from hogwild.geometry import Layer, Rotary
from test_plan import BASE, LAYERS, RAGGED, Case, any_rows, case
from tiny import DEVICE, chain_difference, some_tokens, tiny_engine

LENGTHS = [40, 5, 17, 33]
ROOT = Path(__file__).resolve().parent.parent


def small(layer: Layer, dtype: torch.dtype = torch.float32) -> Case:
    return case(layer, LENGTHS, RAGGED, dtype, page_size=16)


def assert_exact(made: Case, splits: int = 5) -> None:
    allowed = tolerance(made.query, made.layer, made.pool.keys[0], made.pool.values[0], made.plan)
    ours, theirs = made.by(TritonAttention(splits)), made.by(reference_attention)
    assert ours.dtype == made.query.dtype
    assert float((ours.double() - theirs.double()).abs().max()) <= allowed


def test_these_tests_run_in_the_interpreter_or_on_a_card() -> None:
    assert (DEVICE.type == "cpu") == INTERPRETED


@pytest.mark.parametrize("kind", LAYERS)
def test_triton_equals_the_reference(kind: str) -> None:
    assert_exact(small(LAYERS[kind]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("key_dim", "value_dim"), [(64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256)])
def test_head_sizes(key_dim: int, value_dim: int, dtype: torch.dtype) -> None:
    rotary = Rotary(torch.logspace(0, -3, key_dim // 2, dtype=torch.float64), "half")
    layer = Layer(heads=6, kv_heads=2, key_dim=key_dim, value_dim=value_dim, scale=key_dim**-0.5, rotary=rotary)
    assert_exact(case(layer, [70, 3, 20], [([0, 1, 2], 2), ([2, 0, 1], 1)], dtype, page_size=64))


@settings(max_examples=15)
@given(st.data())
def test_triton_equals_the_reference_for_any_rows(data: st.DataObject) -> None:
    layer = LAYERS[data.draw(st.sampled_from(sorted(LAYERS)))]
    window = None if layer.window is None else data.draw(st.integers(1, 60))
    layer = replace(layer, heads=layer.kv_heads * data.draw(st.sampled_from([1, 2, 3, 7])), window=window)
    if layer.sinks is not None:
        layer = replace(layer, sinks=torch.linspace(-2, 3, layer.heads, device=DEVICE))
    lengths, rows = any_rows(data, 50, most_blocks=5)
    made = case(layer, lengths, rows, torch.float32, data.draw(st.sampled_from([16, 32])))
    assert_exact(made, data.draw(st.integers(1, 9)))


def test_the_tolerance_is_far_below_what_is_wrong() -> None:
    """So that the tests above could fail: each of these is a mistake that a kernel could make."""
    made = small(replace(LAYERS["all at once"], window=30))
    allowed = tolerance(made.query, made.layer, made.pool.keys[0], made.pool.values[0], made.plan)
    right = made.by(reference_attention)
    for wrong in ({"window": 31}, {"window": None}, {"softcap": None}, {"sinks": None}, {"rotary": None}):
        assert (made.by(TritonAttention(), replace(made.layer, **wrong)) - right).abs().max() > 50 * allowed


def test_a_query_of_another_dtype_than_the_cache() -> None:
    made = small(BASE, torch.bfloat16)
    made.query = made.query.float()
    allowed = tolerance(made.query.bfloat16(), BASE, made.pool.keys[0], made.pool.values[0], made.plan)
    assert (made.by(TritonAttention()) - made.by(reference_attention)).abs().max() <= allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["plain", "MLA", "all at once"])
def test_keys_and_values_in_8_bits(kind: str, dtype: torch.dtype) -> None:
    layer = LAYERS[kind] if kind != "MLA" else replace(LAYERS[kind], value_dim=12)
    made = small(layer, dtype)
    for tensors in (made.pool.keys, made.pool.values):
        packed = pack(torch.nan_to_num(tensors[0], 0, 0, 0).clamp(-9, 9))
        tensors[0] = packed
    assert_exact(made)


def test_queries_need_not_lie_in_order() -> None:
    made = small(BASE)
    expected = made.by(TritonAttention())
    made.query = made.query.transpose(0, 1).contiguous().transpose(0, 1)  # as a model hands it over
    assert torch.equal(made.by(TritonAttention()), expected)
    made.query = made.query.mT.contiguous().mT
    assert torch.equal(made.by(TritonAttention()), expected)


def test_what_nobody_may_see_may_be_no_number() -> None:
    made = small(LAYERS["all at once"])
    expected = made.by(TritonAttention())
    used = torch.cat([block.slots(0, len(block)) for block in made.blocks])
    for tensor in (*made.pool.keys, *made.pool.values):
        kept = tensor[:, used].clone()
        tensor.fill_(float("nan"))
        tensor[:, used] = kept
    assert torch.equal(made.by(TritonAttention()), expected)


def test_tables_tell_what_the_plan_tells() -> None:
    made = small(BASE)
    for wanted in (1, 4, 100):
        tables, sight = make_tables(made.plan, wanted), made.plan.sight(None)
        assert np.array_equal(tables.ends, sight.high)
        assert np.array_equal(tables.offsets[tables.turns], made.plan.pair_offsets.numpy())
        assert wanted <= len(tables.splits) + 4 * wanted
        seen = np.zeros((made.plan.tokens, sum(LENGTHS)), dtype=int)
        starts = dict(zip(sorted(set(tables.splits[:, FIRST_PAGE].tolist())), np.cumsum([0, *LENGTHS]), strict=False))
        for split in tables.splits:
            for own in range(split[TOKENS]):
                end = min(split[END], tables.ends[split[FIRST_PAIR] + own])
                begin = starts[int(split[FIRST_PAGE])]
                seen[split[FIRST_TOKEN] + own, begin + split[BEGIN] : begin + max(end, split[BEGIN])] += 1
        assert seen.max() == 1  # no key is read twice
        for row, first in zip(made.plan.readings, (0, 5, 6, 8), strict=True):
            for token in range(row.count):
                assert seen[first + token].sum() == sum(row.lengths) - row.count + token + 1


def test_splits_are_about_as_many_as_wanted() -> None:
    made = case(BASE, [200, 10], [([0, 1], 1)], page_size=16)
    assert [len(make_tables(made.plan, wanted).splits) for wanted in (1, 2, 7, 99)] == [2, 3, 8, 14]


@pytest.mark.parametrize(
    ("changes", "dtype", "page", "reason"),
    [
        ({}, torch.float64, 64, "not torch.float64 queries"),
        ({"key_dim": 320}, torch.float32, 64, "heads of 320 and 16: use --attention plain"),
        ({"key_dim": 18}, torch.int8, 64, "heads of 18 and 16"),
        ({}, torch.float32, 8, "pages of a power of 2 from 16 tokens on, not 8"),
        ({}, torch.float32, 48, "not 48"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(changes: Any, dtype: torch.dtype, page: int, reason: str) -> None:
    query = torch.float32 if dtype == torch.int8 else dtype
    with pytest.raises(ModelUnsupported, match=reason):
        check_supported(replace(BASE, **changes), torch.empty(0, dtype=query), torch.empty(0, dtype=dtype), page)


@pytest.mark.parametrize("name", ["Llama", "Gemma 2", "GPT-OSS", "DeepSeek V3"])
def test_models(name: str) -> None:
    """One worker over several blocks is the model itself, and ragged rows that read each other are as by plain."""
    made = tiny_engine(name, check=False)
    made.attention = plain_attention  # to read what all share: the interpreter is slow
    common, a, b = (made.block() for _ in range(3))
    made.prefill([common], some_tokens(30))
    made.attention = TritonAttention(3)
    assert chain_difference(made, (9, 1, 4)) <= 1e-4
    rows = [
        Row([common, b, a], some_tokens(3, 1), drafts=2),
        Row([b, a, common], some_tokens(1, 2)),
        Row([a, b], [7, 8]),
    ]
    ours = made.forward(rows, all_positions=True)
    for row in rows:
        row.own.truncate(len(row.own) - len(row.tokens))
    made.attention = plain_attention
    assert largest_difference(ours, made.forward(rows, all_positions=True)) <= 1e-4


@pytest.mark.parametrize("target", ["80", "90"])
def test_the_kernels_compile_for_gpus(target: str, tmp_path: Path) -> None:
    """Down to machine code, by the compiler that comes with Triton: no register spills at the common sizes."""
    env = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = [sys.executable, ROOT / "scripts" / "compile_kernels.py", "--target", target, "--quick"]
    done = subprocess.run(script, env=env, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert len(lines) >= 3
    assert all(int(line[-1]) == 0 for line in lines if line[0] == "attend_splits")


def test_a_model_with_a_cache_in_8_bits() -> None:
    logits = []
    for attention in ("triton", "plain"):
        made = tiny_engine(check=False, attention=attention, kv_dtype="int8")
        a, b = made.block(), made.block()
        logits.append(made.forward([Row([b, a], [3, 4, 5]), Row([a, b], [6])], all_positions=True))
    assert largest_difference(*logits) <= 1e-4
