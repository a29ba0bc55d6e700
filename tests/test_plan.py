"""The plan of a pass and the attention that follows it, on random keys and values without a model, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hogwild.attention import Plan, Reading, plain, plain_attention, reference_attention
from hogwild.attention.plan import Span
from hogwild.cache import Block, Pool
from hogwild.cache.pool import slot_bytes
from hogwild.geometry import Layer, Rotary
from test_pool import written
from tiny import DEVICE

HALF = torch.tensor([1.0, 0.4, 0.1, 0.02], dtype=torch.float64)
FULL = torch.logspace(0, -3, 8, dtype=torch.float64)
BASE = Layer(heads=4, kv_heads=2, key_dim=16, value_dim=16, scale=0.7, rotary=Rotary(FULL, "half"))
SINKS = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64, device=DEVICE)
LAYERS = {
    "plain": BASE,
    "interleaved": replace(BASE, rotary=Rotary(FULL, "interleaved")),
    "partial": replace(BASE, rotary=Rotary(HALF, "half")),
    "partial, interleaved": replace(BASE, rotary=Rotary(HALF, "interleaved")),
    "MLA": replace(BASE, kv_heads=4, key_dim=24, value_dim=10, rotary=Rotary(HALF, "interleaved", start=16)),
    "turning the other way": replace(BASE, rotary=Rotary(-FULL, "half")),
    "no positions": replace(BASE, rotary=None),
    "window": replace(BASE, window=6),
    "window of one": replace(BASE, window=1),
    "window without positions": replace(BASE, window=3, rotary=None),
    "soft cap": replace(BASE, softcap=2.0),
    "sinks": replace(BASE, sinks=SINKS),
    "all at once": replace(BASE, window=5, softcap=3.0, sinks=SINKS, rotary=Rotary(HALF, "interleaved", start=8)),
    "one KV head": replace(BASE, kv_heads=1),
}


@dataclass
class Case:
    """A pool of one layer, a plan over random blocks, and a query."""

    layer: Layer
    pool: Pool
    plan: Plan
    query: torch.Tensor
    blocks: Sequence[Block]

    def by(self, function: object, layer: Layer | None = None) -> torch.Tensor:
        assert callable(function)
        out = function(self.query, layer or self.layer, self.pool.keys[0], self.pool.values[0], self.plan)
        assert isinstance(out, torch.Tensor)
        assert out.shape == (self.plan.tokens, self.layer.heads, self.layer.value_dim)
        return out

    def spoil_what_nobody_sees(self) -> None:
        """Behind a block's end its page may hold any number, and other pages not even that."""
        size = self.pool.page_size
        used = torch.cat([block.slots(0, len(block)) for block in self.blocks])
        pages = (used // size * size)[:, None] + torch.arange(size)
        for tensor in (*self.pool.keys, *self.pool.values):
            kept = tensor[:, used].clone()
            tensor.fill_(float("nan"))
            tensor[:, pages.flatten()] = 1e30
            tensor[:, used] = kept


Rows = tuple[list[int], list[tuple[list[int], int]]]


def case(
    layer: Layer,
    lengths: list[int],
    rows: list[tuple[list[int], int]],
    dtype: torch.dtype = torch.float64,
    page_size: int = 4,
) -> Case:
    """Blocks of ``lengths`` tokens; each row has a view (numbers of blocks) and how many tokens of the last are new."""
    memory = 200 * page_size * slot_bytes([layer], dtype)
    pool = Pool([layer], memory, dtype=dtype, device=DEVICE, max_positions=100_000, page_size=page_size)
    blocks = [written(pool, length, seed) for seed, length in enumerate(lengths)]
    readings = [Reading(tuple(blocks[n] for n in view), tuple(lengths[n] for n in view), new) for view, new in rows]
    slots = torch.cat([blocks[view[-1]].slots(lengths[view[-1]] - new, lengths[view[-1]]) for view, new in rows])
    plan = Plan(readings, slots)
    generator = torch.Generator().manual_seed(9)
    query = torch.randn(layer.heads, plan.tokens, layer.key_dim, generator=generator).to(DEVICE, dtype)
    return Case(layer, pool, plan, query, blocks)


RAGGED = [([0, 1, 2, 3], 5), ([3, 0, 1], 1), ([2, 3, 0], 2), ([1, 2], 3)]


@pytest.mark.parametrize("kind", LAYERS)
def test_plain_equals_the_reference(kind: str) -> None:
    made = case(LAYERS[kind], [9, 5, 7, 13], RAGGED)
    torch.testing.assert_close(made.by(plain_attention), made.by(reference_attention), rtol=0, atol=1e-12)


def any_rows(data: st.DataObject, longest: int, most_blocks: int = 6, most_new: int = 1000) -> Rows:
    """Lengths of blocks, and of each row the blocks that it views and how many tokens of the last are new."""
    lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=most_blocks))
    writers = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    rows = []
    for writer in writers:
        others = [n for n in range(len(lengths)) if n != writer]
        view = data.draw(st.lists(st.sampled_from(others), unique=True) if others else st.just([]))
        rows.append(([*view, writer], data.draw(st.integers(1, min(lengths[writer], most_new)))))
    return lengths, rows


@settings(max_examples=60)
@given(st.data())
def test_plain_equals_the_reference_for_any_rows(data: st.DataObject) -> None:
    layer = LAYERS[data.draw(st.sampled_from(sorted(LAYERS)))]
    made = case(layer, *any_rows(data, 15))
    expected = made.by(reference_attention)
    torch.testing.assert_close(made.by(plain_attention), expected, rtol=0, atol=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "SCORE_BYTES", 1)  # one token at a time
        torch.testing.assert_close(made.by(plain_attention), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "plain"])
def test_what_is_special_shows(kind: str) -> None:
    """So that the tests above could fail: each kind differs from a plain layer on the same numbers."""
    made = case(LAYERS[kind], [9, 5, 7, 13], RAGGED)
    layer = made.layer
    simple = replace(layer, window=None, softcap=None, sinks=None)
    if layer.rotary != BASE.rotary:
        simple = replace(simple, rotary=None if layer.rotary else BASE.rotary)
    if kind == "one KV head":
        return
    assert (made.by(plain_attention) - made.by(plain_attention, simple)).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    made = case(LAYERS["all at once"], [9, 5, 7, 13], RAGGED, dtype)
    ours, theirs = made.by(plain_attention), made.by(reference_attention)
    assert ours.dtype == dtype
    assert ours.is_contiguous()
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_what_nobody_may_see_may_be_anything() -> None:
    made = case(LAYERS["window"], [9, 5, 7, 13], RAGGED)
    expected = made.by(plain_attention)
    made.spoil_what_nobody_sees()
    assert torch.equal(made.by(plain_attention), expected)


def test_a_plan_tells_positions_inside_blocks_and_what_is_left_to_turn() -> None:
    made = case(BASE, [10, 4, 6], [([0, 1, 2], 2), ([2, 1], 1)])
    plan = made.plan
    assert plan.tokens == 3
    assert plan.positions.tolist() == [4, 5, 3]
    pairs = sorted(zip(plan.pair_tokens.tolist(), plan.pair_offsets.tolist(), strict=True))
    # Row 0 stands at 14 in its view and reads blocks at 0, 10 and 14; row 1 stands at 6 and reads 0 and 6. Token 2 is
    # in none of the pairs of block 0.
    assert pairs == [(0, 0), (0, 4), (0, 14), (1, 0), (1, 4), (1, 14), (2, 0), (2, 6)]
    assert plan.rotates
    assert not case(BASE, [10], [([0], 3)]).plan.rotates


def test_a_block_is_read_once_for_all_rows() -> None:
    rows = [([0, n], 1) for n in range(1, 9)]
    sight = case(BASE, [40] + [2] * 8, rows).plan.sight(None)
    assert sight.columns == 40 + 8 * 4  # whole pages, but not 8 * 44
    common = [span for span in sight.spans if (span.first_token, span.last_token) == (0, 8)]
    assert sum(span.last_slot - span.first_slot for span in common) == 40


def test_the_size_of_what_is_read_changes_once_a_page() -> None:
    """Every new size of a matrix product has its price."""
    columns = {case(BASE, [40, length], [([0, 1], 1)]).plan.sight(None).columns for length in range(1, 13)}
    assert columns == {44, 48, 52}


def test_a_pass_of_one_row_and_one_token_needs_no_bias() -> None:
    plan = case(BASE, [40, 8], [([0, 1], 1)]).plan
    assert plan.sight(None).bias is None  # both blocks fill their pages
    assert plan.sight(4).columns == 4
    assert plan.sight(4).bias is None
    assert plan.sight(4) is plan.sight(4)  # made once, for all layers


def test_what_left_the_window_is_not_read() -> None:
    sight = case(BASE, [40, 8, 30], [([0, 1, 2], 2)]).plan.sight(10)
    assert sight.columns == 16  # of 78: the pages of the last 11
    assert sight.bias is not None
    assert (sight.bias == 0).sum(1).tolist() == [10, 10]


def test_rotations_are_shared_by_the_layers_of_one_type() -> None:
    plan = case(BASE, [9, 5, 7, 13], RAGGED).plan
    rotary = BASE.rotary
    assert rotary is not None
    assert plan.rotation(rotary, 16, torch.float32) is plan.rotation(rotary, 16, torch.float32)
    assert plan.rotation(rotary, 16, torch.float64) is not plan.rotation(rotary, 16, torch.float32)


def test_spans_are_clipped_to_tokens() -> None:
    span = Span(first_slot=8, last_slot=20, first_token=3, last_token=9, column=4, pair=30, offset=64)
    assert span.last_column == 16
    assert span.clip(0, 3) is None
    assert span.clip(9, 12) is None
    assert span.clip(0, 99) == span
    assert span.clip(5, 7) == Span(8, 20, 5, 7, 4, 32, 64)
