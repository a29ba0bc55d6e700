"""The compiled kernel equals the definition of concurrent attention, for every kind of layer, view and head size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hogwild import native
from hogwild.attention import choose_attention, plain_attention, reference_attention
from hogwild.attention.fused import FusedAttention
from hogwild.errors import OptionError
from hogwild.geometry import Layer, Rotary
from test_plan import BASE, LAYERS, RAGGED, Case, any_rows, case
from test_pool import CPU

LIBRARY = native.library()
if LIBRARY is None:
    pytest.skip(f"no kernels here: {native.status()}", allow_module_level=True)
fused = FusedAttention(LIBRARY)

# Scores are sums of at most 192 products, all below 50 in size here: each is off by a few roundings of 2**-24 of that,
# and so is a weight, relatively; values are below 5. For bfloat16 the reference is given the same rounded numbers, but
# the turned query and the weights are rounded once more, by 2**-9.
TOLERANCE = {torch.float32: 5 * 50 * 8 * 2**-24, torch.bfloat16: 5 * 8 * 2**-9}


def check(made: Case) -> None:
    ours, theirs = made.by(fused), made.by(reference_attention)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_layer(kind: str, dtype: torch.dtype) -> None:
    check(case(LAYERS[kind], [9, 5, 7, 13], RAGGED, dtype))
    check(case(LAYERS[kind], [300, 70, 7, 64], [([0, 1, 2, 3], 5), ([3, 0, 1], 66), ([3, 0, 2], 2)], dtype, 64))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("heads", [(4, 4), (8, 2), (7, 1), (14, 2), (128, 1)], ids=str)
@pytest.mark.parametrize(
    "dims", [(16, 16), (64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256), (15, 9)], ids=str
)
def test_head_sizes_and_groups(dims: tuple[int, int], heads: tuple[int, int], dtype: torch.dtype) -> None:
    rotary = Rotary(torch.logspace(0, -3, dims[0] // 2, dtype=torch.float64), "half")
    layer = Layer(heads[0], heads[1], dims[0], dims[1], scale=dims[0] ** -0.5, rotary=rotary)
    check(case(layer, [150, 5, 70], [([0, 1, 2], 1), ([0, 2, 1], 3)], dtype, 64))


@settings(max_examples=80)
@given(st.data())
def test_any_rows(data: st.DataObject) -> None:
    layer = LAYERS[data.draw(st.sampled_from(sorted(LAYERS)))]
    if layer.window is not None:
        layer = replace(layer, window=data.draw(st.integers(1, 200)))
    lengths, rows = any_rows(data, 150, most_new=40)
    check(case(layer, lengths, rows, torch.float32, data.draw(st.sampled_from([4, 16, 64]))))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing_that_shows(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        check(case(BASE, [900, 5, 70], [([0, 1, 2], 1), ([0, 2, 1], 3)], torch.float32, 64))
    finally:
        torch.set_num_threads(before)


def test_the_same_twice() -> None:
    made = case(BASE, [900, 5, 70], [([0, 1, 2], 1), ([0, 2, 1], 3)], torch.bfloat16, 64)
    assert torch.equal(made.by(fused), made.by(fused))


def test_what_nobody_may_see_may_be_anything() -> None:
    made = case(LAYERS["window"], [9, 5, 7, 13], RAGGED, torch.float32)
    expected = made.by(fused)
    made.spoil_what_nobody_sees()
    assert torch.equal(made.by(fused), expected)


def test_scores_of_any_size() -> None:
    """The largest weight is 1, however large the scores: nothing overflows."""
    layer = replace(BASE, scale=300.0)
    made = case(layer, [200, 3], [([0, 1], 2)], torch.float32, 64)
    assert made.by(fused).isfinite().all()
    torch.testing.assert_close(made.by(fused), made.by(plain_attention), rtol=0, atol=0.05)


def test_a_query_of_any_strides() -> None:
    made = case(BASE, [20, 6], [([0, 1], 4)], torch.float32)
    expected = made.by(fused)
    made.query = made.query.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(made.by(fused), expected)
    made.query = made.query.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(made.by(fused), expected)


def test_asked_for_by_name() -> None:
    assert isinstance(choose_attention("auto", CPU, torch.bfloat16), FusedAttention)
    assert isinstance(choose_attention("fused", CPU, torch.float32), FusedAttention)
    assert choose_attention("auto", CPU, torch.float64) is plain_attention
    with pytest.raises(OptionError, match="fused.*not for torch.float64 on cpu"):
        choose_attention("fused", CPU, torch.float64)


def test_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    assert choose_attention("auto", CPU, torch.bfloat16) is plain_attention
    with pytest.raises(OptionError, match="needs the compiled kernels"):
        choose_attention("fused", CPU, torch.float32)
