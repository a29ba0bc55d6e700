"""The first law: concurrent attention equals its definition, for random structures of blocks that grow and change.

A Hypothesis state machine drives an engine and its shadow (`shadow.py`) side by side, with pages of a few tokens so
that their borders are crossed all the time. Below it, what must hold without any oracle but the model's own forward.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hogwild.attention import choose_attention, plain
from hogwild.cache import Pool
from hogwild.cache.pool import slot_bytes
from hogwild.engine import Block, Engine, Row, engine
from hogwild.engine.selftest import largest_difference, plain_logits
from hogwild.errors import BlockError, CacheFull
from shadow import Shadow, ShadowBlock
from tiny import ATTENTION, chain_difference, ragged_difference, some_tokens, tiny_engine

TOLERANCE = 1e-4
PAGE, PAGES, MAX_BLOCKS = 4, 60, 10
KINDS = ["Llama", "Gemma 3", "GPT-OSS", "Cohere 2", "DeepSeek V3"]


def small_pages(name: str) -> Engine:
    """A tiny engine whose pool has ``PAGES`` pages of ``PAGE`` tokens."""
    made = tiny_engine(name, check=False)
    layers, old = made.pool.layers, made.pool
    memory = slot_bytes(layers, made.dtype) * PAGE * PAGES
    made.pool = Pool(
        layers, memory, dtype=old.dtype, device=old.device, max_positions=old.max_positions, page_size=PAGE
    )
    return made


class Workspace(RuleBasedStateMachine):
    """Blocks on the engine, and what they should be."""

    name = "Llama"

    def __init__(self) -> None:
        super().__init__()
        self.engine = small_pages(self.name)
        self.shadow = Shadow(self.engine)
        self.blocks: list[tuple[Block, ShadowBlock]] = []
        self.chunk, engine.PREFILL_CHUNK = engine.PREFILL_CHUNK, 5  # so that rows of 6 to 8 tokens are cut

    def teardown(self) -> None:
        engine.PREFILL_CHUNK = self.chunk
        for block, _ in self.blocks:
            block.free()
        assert self.engine.pool.used_pages == 0

    def one(self, data: st.DataObject) -> tuple[Block, ShadowBlock]:
        return self.blocks[data.draw(st.integers(0, len(self.blocks) - 1))]  # Hypothesis shall hold no block

    @precondition(lambda self: len(self.blocks) < MAX_BLOCKS)
    @rule()
    def new(self) -> None:
        self.blocks.append((self.engine.block(), []))

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), attention=st.sampled_from([*ATTENTION, "reference"]))
    def forward(self, data: st.DataObject, attention: str) -> None:
        writers = data.draw(st.lists(st.sampled_from(range(len(self.blocks))), min_size=1, max_size=8, unique=True))
        views = []
        for writer in writers:
            others = [n for n in range(len(self.blocks)) if n != writer]
            read = data.draw(st.lists(st.sampled_from(others), unique=True) if others else st.just([]))
            views.append([*read, writer])
        counts = [data.draw(st.sampled_from([1, 1, 1, 2, 3, 8])) for _ in writers]
        news = [some_tokens(count, data.draw(st.integers(0, 99))) for count in counts]
        self.engine.attention = choose_attention(attention, self.engine.device, self.engine.dtype)
        drafts = [data.draw(st.integers(0, count - 1)) if count > 1 else 0 for count in counts]
        rows = [Row([self.blocks[n][0] for n in v], new, d) for v, new, d in zip(views, news, drafts, strict=True)]
        try:
            ours = self.engine.forward(rows, all_positions=True)
        except CacheFull:
            return  # the invariants see to it that nothing has changed
        theirs = self.shadow.forward(
            [([self.blocks[n][1] for n in view], new) for view, new in zip(views, news, strict=True)], drafts
        )
        assert largest_difference(ours, theirs) <= TOLERANCE

    @precondition(lambda self: len(self.blocks) > 1)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        (block, shadow), (other, its_shadow) = self.one(data), self.one(data)
        if other is block:
            return
        begin = data.draw(st.integers(0, len(other)))
        end = data.draw(st.integers(begin, len(other)))
        try:
            block.extend(other, begin, end)
        except CacheFull:
            return
        shadow.extend(its_shadow[begin:end])

    @precondition(lambda self: 0 < len(self.blocks) < MAX_BLOCKS)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        block, shadow = self.one(data)
        self.blocks.append((block.fork(), list(shadow)))

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        block, shadow = self.one(data)
        length = data.draw(st.integers(0, len(block)))
        block.truncate(length)
        del shadow[length:]

    @precondition(lambda self: 0 < len(self.blocks) < MAX_BLOCKS)
    @rule(data=st.data())
    def without(self, data: st.DataObject) -> None:
        block, shadow = self.one(data)
        begin = data.draw(st.integers(0, len(block)))
        end = data.draw(st.integers(begin, len(block)))
        try:
            shorter = block.without(begin, end)
        except CacheFull:
            return
        self.blocks.append((shorter, shadow[:begin] + shadow[end:]))

    @precondition(lambda self: len(self.blocks) > 2)
    @rule(data=st.data(), forget=st.booleans())
    def free(self, data: st.DataObject, forget: bool) -> None:
        block, _ = self.blocks.pop(data.draw(st.integers(0, len(self.blocks) - 1)))
        if not forget:  # a block that nobody holds any more gives its pages back too
            block.free()

    @invariant()
    def blocks_hold_what_they_should(self) -> None:
        for block, shadow in self.blocks:
            assert list(block.tokens) == [entry.token for entry in shadow]
            assert len(block) == len(shadow)

    @invariant()
    def pages_are_accounted_for(self) -> None:
        used = {int(slot) // PAGE for block, _ in self.blocks for slot in block.slots(0, len(block))}
        assert self.engine.pool.used_pages == len(used)


@pytest.mark.parametrize("name", KINDS)
def test_random_workspaces(name: str) -> None:
    machine = type("Machine", (Workspace,), {"name": name})
    limits = settings(
        max_examples=15, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow], deadline=None
    )
    run_state_machine_as_test(machine, settings=limits)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return tiny_engine(request.param)


@settings(max_examples=15)
@given(splits=st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_one_worker_over_any_blocks_is_the_model_itself(kind: Engine, splits: list[int]) -> None:
    assert chain_difference(kind, splits) <= TOLERANCE


@settings(max_examples=10)
@given(steps=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_one_worker_whose_steps_move_to_the_history_is_the_model_itself(kind: Engine, steps: list[int]) -> None:
    """A step that moves to where it stands anyway changes nothing: this tests the rotation of moved keys."""
    tokens, logits, first = some_tokens(10 + sum(steps)), [], 10
    history = kind.block()
    logits.append(kind.forward([Row([history], tokens[:10])], all_positions=True))
    for count in steps:
        step = kind.block()
        logits += [kind.forward([Row([history, step], [token])]) for token in tokens[first : first + count]]
        history.extend(step)
        first += count
    assert history.tokens == tuple(tokens)
    with torch.inference_mode():
        assert largest_difference(torch.cat(logits), plain_logits(kind, tokens)) <= TOLERANCE


def test_long_passes_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are computed for a few tokens at a time when they would take too much memory."""
    made = tiny_engine("Gemma 3", attention="plain")
    whole = chain_difference(made)
    monkeypatch.setattr(plain, "SCORE_BYTES", 4000)
    assert chain_difference(made) <= max(TOLERANCE, whole)
    assert ragged_difference(made) <= TOLERANCE


def test_rows_see_each_others_tokens_of_the_same_pass(engine: Engine) -> None:
    common, a, b = (engine.block() for _ in range(3))
    engine.prefill([common], some_tokens(20))
    engine.forward([Row([common, b, a], [1]), Row([common, a, b], [2])])
    logits = []
    for token in (3, 4):
        logits.append(engine.forward([Row([common, b, a], [7]), Row([common, a, b], [token])])[0])
        a.truncate(1)
        b.truncate(1)
    assert largest_difference(logits[0], logits[1]) > 1e-3


def test_drafts_are_seen_by_their_own_row_only(engine: Engine) -> None:
    common, a, b = (engine.block() for _ in range(3))
    engine.prefill([common], some_tokens(20))
    rows = [Row([common, b, a], [1, 8, 9], drafts=2), Row([common, a, b], [2])]
    guessing = engine.forward(rows, all_positions=True)
    a.truncate(1)
    b.truncate(0)
    a.truncate(0)
    sure = engine.forward([Row([common, b, a], [1]), Row([common, a, b], [2])])
    assert largest_difference(guessing[[0, 3]], sure) < 1e-5
    after = engine.forward([Row([common, b, a], [8])])[0]
    assert largest_difference(guessing[1], after) < 1e-5


@pytest.mark.parametrize("drafts", [-1, 2, 3])
def test_a_row_brings_at_least_one_token_that_is_no_draft(engine: Engine, drafts: int) -> None:
    with pytest.raises(BlockError, match=f"brings 2 tokens and calls {drafts} of them drafts"):
        engine.forward([Row([engine.block()], [1, 2], drafts)])


def test_a_row_does_not_depend_on_rows_that_it_does_not_read(engine: Engine) -> None:
    mine, theirs = engine.block(), engine.block()
    engine.prefill([mine], some_tokens(20, 1))
    engine.prefill([theirs], some_tokens(30, 2))
    alone = engine.forward([Row([mine], [5])])[0]
    mine.truncate(20)
    together = engine.forward([Row([theirs], [6, 7, 8]), Row([mine], [5])])[1]
    assert largest_difference(together, alone) < 1e-5


def test_a_view_is_read_in_its_order(engine: Engine) -> None:
    a, b, own = (engine.block() for _ in range(3))
    engine.prefill([a], some_tokens(20, 1))
    engine.prefill([b], some_tokens(20, 2))
    one = engine.forward([Row([a, b, own], [5])])
    own.truncate(0)
    other = engine.forward([Row([b, a, own], [5])])
    assert largest_difference(one, other) > 1e-3
