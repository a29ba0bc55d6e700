"""The paged pool alone, without a model: pages, runs, counts, and moved keys."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hogwild.cache import Block, Pool
from hogwild.cache.pool import slot_bytes
from hogwild.errors import CacheFull, OptionError
from hogwild.geometry import Layer, Rotary

CPU = torch.device("cpu")
FREQUENCIES = torch.tensor([1.0, 0.3, 0.01, 0.0007], dtype=torch.float64)
LAYERS = (
    Layer(heads=4, kv_heads=2, key_dim=8, value_dim=6, scale=1.0, rotary=Rotary(FREQUENCIES, "half")),
    Layer(heads=4, kv_heads=1, key_dim=8, value_dim=8, scale=1.0),  # no positions
    Layer(heads=2, kv_heads=2, key_dim=12, value_dim=4, scale=1.0, rotary=Rotary(FREQUENCIES, "interleaved", start=4)),
)


def pool(pages: int = 20, page_size: int = 4, dtype: torch.dtype = torch.float64) -> Pool:
    memory = pages * page_size * slot_bytes(LAYERS, dtype)
    return Pool(LAYERS, memory, dtype=dtype, device=CPU, max_positions=1000, page_size=page_size)


def written(where: Pool, count: int, seed: int = 0) -> Block:
    """A block of random keys and values."""
    block, generator = Block(where), torch.Generator().manual_seed(seed)
    slots = block.reserve(count)
    for tensor in (*where.keys, *where.values):
        random = torch.randn(tensor.shape[0], count, tensor.shape[2], generator=generator)
        tensor[:, slots] = random.to(tensor)
    block.commit(range(count))
    return block


def test_size() -> None:
    assert slot_bytes(LAYERS, torch.float32) == 4 * (2 * 14 + 1 * 16 + 2 * 16)
    made = pool(pages=7)
    assert (made.total_pages, made.free_pages, made.used_pages) == (7, 7, 0)
    assert made.bytes == 7 * 4 * slot_bytes(LAYERS, torch.float64)
    assert made.keys[2].shape == (2, 28, 12)
    assert made.values[0].shape == (2, 28, 6)


def test_too_little_memory_is_an_error_that_says_how_much_it_takes() -> None:
    need = 4 * 4 * slot_bytes(LAYERS, torch.float64)
    with pytest.raises(OptionError, match=f"kv_memory is {need - 1} bytes: this model needs {need} at least"):
        Pool(LAYERS, need - 1, dtype=torch.float64, device=CPU, max_positions=9, page_size=4)


def test_allocation_is_all_or_nothing() -> None:
    made = pool(pages=5)
    taken = made.allocate(3)
    with pytest.raises(CacheFull, match="3 pages of 4 tokens wanted, 2 of 5 free; free some blocks or give more"):
        made.allocate(3)
    assert made.used_pages == 3
    for page in taken:
        made.release(page)
    assert sorted(made.allocate(5)) == list(range(5))


def test_pages_are_neighbours_where_they_can_be() -> None:
    made = pool(pages=20)
    assert made.allocate(3) == [0, 1, 2]
    assert made.allocate(2, after=2) == [3, 4]
    other = made.allocate(2)
    assert other[0] >= 8  # leaves room for the first run to grow
    assert other[1] == other[0] + 1
    grown = made.allocate(other[0] - 5, after=4)
    assert grown == list(range(5, other[0]))
    assert made.allocate(1, after=grown[-1])[0] > other[1]  # its neighbour is taken


def test_shared_pages_are_counted() -> None:
    made = pool()
    (page,) = made.allocate(1)
    made.retain(page)
    assert made.users(page) == 2
    made.release(page)
    assert made.used_pages == 1
    made.release(page)
    assert made.used_pages == 0


def test_runs_are_maximal_and_hold_whole_pages() -> None:
    made = pool()
    a, b = written(made, 7), written(made, 3)
    a.commit(range(len(a.reserve(30))))
    assert len(a.runs(0, 10)) < 10
    for block in (a, b):
        pages = -(-len(block) // 4)
        for begin in range(pages):
            for end in range(begin + 1, pages + 1):
                runs = block.runs(begin, end)
                flat = [slot for first, last in runs for slot in range(first, last)]
                inside = min(end * 4, len(block)) - begin * 4
                assert flat[:inside] == block.slots(begin * 4, begin * 4 + inside).tolist()
                assert len(flat) == (end - begin) * 4
                assert all(one[1] != two[0] for one, two in pairwise(runs))


def test_pages_come_empty() -> None:
    """Whole pages are read, the unwritten rest hidden: what another left there must be no infinity, and is nothing."""
    made = pool(pages=4)
    block = written(made, 16)
    for tensor in (*made.keys, *made.values):
        tensor.fill_(float("nan"))
    block.free()
    (page,) = made.allocate(1)
    for tensor in (*made.keys, *made.values):
        assert (tensor[:, page * 4 : page * 4 + 4] == 0).all()
        assert tensor.isnan().any()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_moving_in_several_turns_is_moving_once(offsets: list[int]) -> None:
    """Rotations compose; values and layers without positions are copied as they are."""
    made = pool(pages=60)
    origin = written(made, 5)
    source = origin.slots(0, 5)
    target = Block(made).reserve(5)
    made.move(source, target, offsets[0])
    for offset in offsets[1:]:
        made.move(target, target, offset)
    total, slots = sum(offsets), source
    for layer, keys, values in zip(LAYERS, made.keys, made.values, strict=True):
        wanted = keys[:, slots]
        if layer.rotary is not None:
            wanted = layer.rotary.rotation(torch.tensor([total]), layer.key_dim, torch.float64, CPU)(wanted)
        torch.testing.assert_close(keys[:, target], wanted, rtol=0, atol=1e-12)
        assert torch.equal(values[:, target], values[:, slots])


def test_moving_keeps_lengths_and_what_is_not_rotated() -> None:
    made = pool()
    block = written(made, 5)
    target = Block(made).reserve(5)
    made.move(block.slots(0, 5), target, 123)
    before, after = made.keys[2][:, block.slots(0, 5)], made.keys[2][:, target]
    assert torch.equal(after[..., :4], before[..., :4])  # the last 8 of 12 dims turn
    assert not torch.equal(after[..., 4:], before[..., 4:])
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))


def test_moving_by_nothing_is_a_copy_to_the_bit() -> None:
    made = pool(dtype=torch.bfloat16)
    block = written(made, 5)
    target = Block(made).reserve(5)
    made.move(block.slots(0, 5), target, 0)
    for keys in made.keys:
        assert torch.equal(keys[:, target], keys[:, block.slots(0, 5)])


def test_half_precision_is_rounded_once() -> None:
    made = pool(dtype=torch.bfloat16)
    block = written(made, 5)
    slots, target = block.slots(0, 5), Block(made).reserve(5)
    made.move(slots, target, 500)
    rotary = LAYERS[0].rotary
    assert rotary is not None
    exact = rotary.rotation(torch.tensor([500]), 8, torch.float64, CPU)(made.keys[0][:, slots].double())
    torch.testing.assert_close(made.keys[0][:, target].double(), exact, rtol=2**-8, atol=1e-6)


def test_copies_of_slots_touch_every_layer() -> None:
    made = pool()
    block = written(made, 4)
    first = int(block.slots(0, 1))
    made.copy_slots(first, 40, 3)
    for tensor in (*made.keys, *made.values):
        assert torch.equal(tensor[:, 40:43], tensor[:, first : first + 3])
