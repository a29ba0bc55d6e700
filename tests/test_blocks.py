"""Blocks and passes: what cannot be is a clear error that changes nothing; what can be costs what it should."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from hogwild.engine import Block, Engine, Row
from hogwild.engine import engine as module
from hogwild.engine.selftest import largest_difference, plain_logits
from hogwild.errors import BlockError, CacheFull, HogwildError, OptionError, WindowError
from tiny import both, some_tokens, tiny_engine

PAGE = 64


class Desk:
    """An engine with three written blocks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.a, self.b, self.own = (engine.block() for _ in range(3))
        engine.prefill([self.a], some_tokens(70, 1))
        engine.prefill([self.a, self.b], some_tokens(5, 2))
        engine.prefill([self.b, self.own], some_tokens(3, 3))

    def state(self) -> list[object]:
        return [self.engine.pool.used_pages, *(block.tokens for block in (self.a, self.b, self.own))]

    def logits(self) -> torch.Tensor:
        """What comes next; the blocks stay as they are."""
        length = len(self.own)
        logits = self.engine.forward([Row([self.b, self.a, self.own], [7, 8])])
        self.own.truncate(length)
        return logits

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        state, logits = self.state(), self.logits()
        yield
        assert self.state() == state
        assert torch.equal(self.logits(), logits)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def freed(desk: Desk) -> Block:
    block = desk.a.fork()
    block.free()
    return block


WRONG_ROWS: dict[str, tuple[type[HogwildError], str, Callable[[Desk], list[Row]]]] = {
    "no rows": (BlockError, "at least one row", lambda d: []),
    "an empty row": (BlockError, "row 0 brings no token", lambda d: [Row([d.a], [])]),
    "an empty view": (BlockError, "row 1 has an empty view", lambda d: [Row([d.a], [1]), Row([], [1])]),
    "a freed block": (BlockError, "was freed", lambda d: [Row([d.a], [1]), Row([freed(d), d.own], [1])]),
    "two writers": (BlockError, "rows 0 and 1 write to the same", lambda d: [Row([d.a], [1]), Row([d.b, d.a], [2])]),
    "a block twice": (BlockError, "the same block twice", lambda d: [Row([d.a, d.b, d.a], [1])]),
    "another engine": (BlockError, "another engine", lambda d: [Row([tiny_engine(check=False).block(), d.own], [1])]),
    "no such token": (BlockError, "token 200, but the model knows 0 to 199", lambda d: [Row([d.own], [1, 200])]),
    "a negative token": (BlockError, "token -1", lambda d: [Row([d.own], [-1])]),
    "past the positions": (WindowError, "a view of 513 tokens", lambda d: [Row([d.own], some_tokens(510))]),
    "past them together": (
        WindowError,
        "row 1: a view of 551 tokens",
        lambda d: [Row([d.a], some_tokens(400)), Row([d.a, d.b, d.own], some_tokens(73))],
    ),
    "a full pool": (CacheFull, "the KV pool is full", lambda d: [Row([d.engine.block()], [1]) for _ in range(13)]),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_wrong_rows_change_nothing(desk: Desk, case: str) -> None:
    error, words, rows = WRONG_ROWS[case]
    with desk.unchanged(), pytest.raises(error, match=words) as caught:
        desk.engine.forward(rows(desk))
    assert "\n" not in str(caught.value)


WRONG_CALLS: dict[str, tuple[type[HogwildError], str, Callable[[Desk], object]]] = {
    "itself": (BlockError, "to itself", lambda d: d.a.extend(d.a)),
    "another engine": (BlockError, "different engines", lambda d: d.a.extend(tiny_engine(check=False).block())),
    "a freed block": (BlockError, "was freed", lambda d: d.a.extend(freed(d))),
    "to a freed block": (BlockError, "was freed", lambda d: freed(d).extend(d.a)),
    "more than there is": (BlockError, "tokens 2 to 71", lambda d: d.b.extend(d.a, 2, 71)),
    "backwards": (BlockError, "tokens 4 to 2", lambda d: d.b.extend(d.a, 4, 2)),
    "fork a freed block": (BlockError, "was freed", lambda d: freed(d).fork()),
    "truncate a freed block": (BlockError, "was freed", lambda d: freed(d).truncate(0)),
    "truncate to more": (BlockError, "a block of 70 tokens to 71", lambda d: d.a.truncate(71)),
    "truncate to less than none": (BlockError, "to -1", lambda d: d.a.truncate(-1)),
    "leave out backwards": (BlockError, "tokens 5 to 3", lambda d: d.a.without(5, 3)),
    "leave out more": (BlockError, "tokens 5 to 99", lambda d: d.a.without(5, 99)),
    "an empty prefill": (BlockError, "brings no token", lambda d: d.engine.prefill([d.a], [])),
    "a long prefill": (WindowError, "583 tokens", lambda d: d.engine.prefill([d.a, d.own], some_tokens(510))),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls_change_nothing(desk: Desk, case: str) -> None:
    error, words, call = WRONG_CALLS[case]
    with desk.unchanged(), pytest.raises(error, match=words) as caught:
        call(desk)
    assert "\n" not in str(caught.value)


def test_a_block_may_not_outgrow_the_positions(engine: Engine) -> None:
    long, more = engine.block(), engine.block()
    engine.prefill([long], some_tokens(500))
    engine.prefill([more], some_tokens(20))
    with pytest.raises(WindowError, match=r"500 \+ 20 tokens exceeds the model's 512"):
        long.extend(more)
    long.extend(more, 0, 12)
    assert len(long) == 512


def fill(engine: Engine, free: int) -> list[Block]:
    """Take all pages of the pool but ``free``."""
    blocks = [engine.block() for _ in range(engine.pool.free_pages - free)]
    engine.forward([Row([block], [1]) for block in blocks])
    return blocks


def test_a_full_pool_refuses_and_everything_else_goes_on(desk: Desk) -> None:
    """With one free page: what needs two is refused as a whole, what needs one is done."""
    rest = fill(desk.engine, free=1)
    twin = desk.b.fork()
    too_much: list[Callable[[], object]] = [
        lambda: twin.extend(desk.a),  # a copy of the shared page, and one more
        lambda: desk.own.extend(desk.a.fork().without(3, 5)),
        lambda: desk.engine.prefill([desk.own], some_tokens(300)),
        lambda: desk.engine.forward([Row([desk.own], some_tokens(62)), Row([twin], [1])]),
        lambda: desk.engine.forward([Row([desk.engine.block()], [1]), Row([twin], [1])]),
        lambda: desk.engine.forward([Row([twin], [1]), Row([desk.engine.block()], [1])]),
    ]
    for call in too_much:
        with desk.unchanged(), pytest.raises(CacheFull, match="wanted"):
            call()
    assert desk.engine.pool.free_pages == 1
    desk.engine.forward([Row([twin], [1]), Row([desk.own], [2])])
    assert desk.engine.pool.free_pages == 0
    assert len(rest) == 11


def test_a_pool_that_fills_up_in_mid_prefill_is_as_before(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREFILL_CHUNK", 50)
    rest, told = fill(desk.engine, free=2), []
    with desk.unchanged(), pytest.raises(CacheFull, match="1 pages of 64 tokens wanted, 0 of 16 free"):
        desk.engine.prefill([desk.own], some_tokens(300), lambda done, _: told.append(done))
    assert told == [50, 100, 150]
    assert len(rest) == 10


def test_pages_come_back(engine: Engine) -> None:
    blocks = fill(engine, free=0)
    with pytest.raises(CacheFull):
        engine.forward([Row([engine.block()], [1])])
    blocks.pop().free()
    blocks[0].free()
    blocks[0].free()  # freeing twice does nothing
    assert blocks[0].freed
    assert engine.pool.free_pages == 2
    del blocks  # so does letting go
    gc.collect()
    assert engine.pool.used_pages == 0


def test_a_fork_shares_until_it_is_written(engine: Engine) -> None:
    block = engine.block()
    engine.prefill([block], some_tokens(100))
    assert engine.pool.used_pages == 2
    twins = [block.fork() for _ in range(5)]
    assert engine.pool.used_pages == 2
    engine.forward([Row([twins[0]], [1])])
    assert engine.pool.used_pages == 3  # the half-filled page, copied; the full one is shared for ever
    twins[1].truncate(PAGE)
    engine.forward([Row([twins[1]], [1])])
    assert engine.pool.used_pages == 4
    block.free()
    for twin in twins[1:]:
        twin.free()
    assert engine.pool.used_pages == 2
    assert len(twins[0]) == 101


def test_a_fork_writes_nothing_into_its_origin(desk: Desk) -> None:
    with desk.unchanged():
        twin = desk.own.fork()
        desk.engine.forward([Row([desk.a, twin], some_tokens(9))])
        twin.truncate(1)
        twin.extend(desk.a)
        twin.free()


def test_forks_count_their_copies_exactly(engine: Engine) -> None:
    """The last of all who share a page writes to it in place, so two writers need one page more, not two."""
    block = engine.block()
    engine.prefill([block], some_tokens(10))
    twin = block.fork()
    rest = fill(engine, free=1)
    logits = engine.forward([Row([block], [1]), Row([twin], [1])])
    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    assert engine.pool.free_pages == 0
    third = twin.fork()
    with pytest.raises(CacheFull, match="1 pages of 64 tokens wanted, 0 of 16 free"):
        engine.forward([Row([twin], [1]), Row([third], [2])])
    third.free()
    engine.forward([Row([twin], [1])])
    assert len(rest) == 14


class Stop(BaseException):
    """As KeyboardInterrupt: no Exception."""


@contextmanager
def failing(engine: Engine, after: int) -> Iterator[None]:
    """Layer 2 fails when it is called for the ``after``-th time."""
    calls = 0

    def hook(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Stop

    handle = engine.model.model.layers[2].register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def test_an_interrupt_in_mid_pass_leaves_nothing_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREFILL_CHUNK", 30)
    new = desk.engine.block()
    with desk.unchanged(), failing(desk.engine, after=1), pytest.raises(Stop):
        desk.engine.forward([Row([desk.a, desk.own], some_tokens(70)), Row([desk.own, new], [1])])
    for after in (1, 3):
        with desk.unchanged(), failing(desk.engine, after), pytest.raises(Stop):
            desk.engine.forward([Row([desk.a, desk.own], some_tokens(100)), Row([new], [1])])
        with desk.unchanged(), failing(desk.engine, after), pytest.raises(Stop):
            desk.engine.prefill([desk.a, desk.own], some_tokens(100))


def test_an_interrupted_extension_leaves_nothing_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def move(*_: object) -> None:
        raise Stop

    with desk.unchanged(), monkeypatch.context() as patch:
        patch.setattr(desk.engine.pool, "move", move)
        with pytest.raises(Stop):
            desk.own.extend(desk.a)
        with pytest.raises(Stop):
            desk.a.without(3, 5)


def test_a_failing_progress_report_undoes_the_prefill(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREFILL_CHUNK", 30)

    def report(done: int, total: int) -> None:
        if done > 50:
            raise Stop

    with desk.unchanged(), pytest.raises(Stop):
        desk.engine.prefill([desk.a, desk.own], some_tokens(100), report)


def test_chunked_prefill_equals_one_piece(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = some_tokens(300)
    whole = engine.prefill([engine.block()], tokens)
    monkeypatch.setattr(module, "PREFILL_CHUNK", 37)
    told = []
    chunked = engine.prefill([engine.block()], tokens, lambda done, total: told.append((done, total)))
    assert largest_difference(chunked, whole) < 1e-5
    with torch.inference_mode():
        assert largest_difference(chunked, plain_logits(engine, tokens)[-1]) < 1e-5
    assert told == [(done, 300) for done in (37, 74, 111, 148, 185, 222, 259, 296, 300)]


def test_long_rows_are_cut_and_come_out_in_order(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two long rows that read nothing of each other go ahead in chunks; a pair that does stays in one pass."""
    a, b, c, d = (engine.block() for _ in range(4))
    news = [some_tokens(count, count) for count in (50, 3, 21, 44)]
    views = [[a], [b], [b, d, c], [c, d]]
    rows = [Row(view, new) for view, new in zip(views, news, strict=True)]
    whole = engine.forward(rows, all_positions=True)
    lasts = [whole[:50][-1], whole[50:53][-1], whole[53:74][-1], whole[74:][-1]]
    for block in (a, b, c, d):
        block.truncate(0)
    monkeypatch.setattr(module, "PREFILL_CHUNK", 10)
    assert largest_difference(engine.forward(rows, all_positions=True), whole) < 1e-5
    for block in (a, b, c, d):
        block.truncate(0)
    assert largest_difference(engine.forward(rows), torch.stack(lasts)) < 1e-5
    assert [len(block) for block in (a, b, c, d)] == [50, 3, 21, 44]


def test_logits_are_float32_whatever_the_model_is() -> None:
    for dtype in ("bfloat16", "float64"):
        made = tiny_engine(dtype=dtype)
        logits = made.forward([Row([made.block()], [1, 2]), Row([made.block()], [3])])
        assert logits.dtype == torch.float32
        assert logits.shape == (2, 200)


def test_empty_blocks_may_stand_anywhere(desk: Desk) -> None:
    empty = desk.engine.block()
    assert empty  # a block is true, however long it is
    logits = desk.logits()
    length = len(desk.own)
    with_empty = desk.engine.forward([Row([empty, desk.b, desk.a, empty.fork(), desk.own], [7, 8])])
    desk.own.truncate(length)
    assert torch.equal(with_empty, logits)
    desk.a.extend(empty)
    assert len(desk.a) == 70
    empty.extend(desk.b)
    assert empty.tokens == desk.b.tokens


def test_a_write_to_the_first_block_moves_those_who_read_on(desk: Desk) -> None:
    """What one row appends to a block in the middle of another's view shifts all that comes after it there."""
    ours, theirs = both(
        desk.engine, [Row([desk.b, desk.a], [1, 2, 3]), Row([desk.a, desk.b, desk.own], [4]), Row([desk.b], [9, 9])]
    )
    assert largest_difference(ours, theirs) < 1e-5


def test_without(desk: Desk) -> None:
    shorter = desk.a.without(10, 65)
    assert shorter.tokens == desk.a.tokens[:10] + desk.a.tokens[65:]
    assert len(desk.a) == 70


def test_reprs_tell_the_state(desk: Desk) -> None:
    assert "70 tokens, 2 pages" in repr(desk.a)
    assert "freed" in repr(freed(desk))


def test_kv_memory_bounds_the_pool() -> None:
    assert tiny_engine(kv_memory=10 * PAGE * 1024 + 5).pool.total_pages == 10
    with pytest.raises(OptionError, match="kv_memory is 1000 bytes: this model needs 262144 at least"):
        tiny_engine(kv_memory=1000)
