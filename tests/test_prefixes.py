"""Prompts that are read once: what is shared, that nothing is copied, exactness, room, and what is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fakes import ScriptedEngine, of_kind, run, scripted, tiny_team_engine, tokens_of
from hogwild import Sampling, Team
from hogwild.engine import PREFILL_CHUNK, Block, Engine, Row, passes
from hogwild.engine.prefixes import Prefixes
from hogwild.engine.selftest import largest_difference, plain_logits
from hogwild.errors import BlockError, CacheFull, OptionError
from tiny import some_tokens, tiny_engine

PAGE = 64


class Counted:
    """Counts the tokens that an engine feeds, and the slots that it copies."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fed, self.copied = 0, 0
        one_pass, copy = engine._pass, engine.pool.copy_slots

        def counted_pass(rows: Any, all_positions: bool) -> Tensor:
            logits: Tensor = one_pass(rows, all_positions)
            self.fed += sum(len(row.tokens) for row in rows)
            return logits

        def counted_copy(source: int, target: int, count: int) -> None:
            self.copied += count
            copy(source, target, count)

        monkeypatch.setattr(engine, "_pass", counted_pass)
        monkeypatch.setattr(engine.pool, "copy_slots", counted_copy)

    def take(self) -> tuple[int, int]:
        taken, self.fed, self.copied = (self.fed, self.copied), 0, 0
        return taken


def first_logits(engine: Engine, block: Block, token: int) -> Tensor:
    own = engine.block()
    return engine.forward([Row([block, own], [token])])


# The price.


def test_a_prompt_of_eight_teams_costs_its_price_once(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "word " * 750  # a token a letter: 3,750 tokens, and the prompt around them
    engine = tiny_team_engine(pages=400, positions=8192)
    counted = Counted(engine, monkeypatch)
    teams, fed = [], []
    for _ in range(8):
        teams.append(Team(engine, task, 2, prompt=prompt, budget=5))
        list(teams[-1].prepare())
        fed.append(counted.take())
    headers = fed[1][0]
    assert teams[0].progress.prompt_tokens > 3750
    assert fed == [(teams[0].progress.prompt_tokens + headers, 0)] + [(headers, 0)] * 7
    assert headers < 60
    spaces = [team.space for team in teams if team.space is not None]
    assert len({space.prompt.pages for space in spaces}) == 1
    for team in teams:
        team.close()
    assert engine.pool.used_pages == 0


def test_what_is_shared_of_a_prompt_is_all_of_it_or_whole_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(kv_memory=64 * PAGE * 1024)
    counted = Counted(engine, monkeypatch)
    tokens = some_tokens(300)
    other = [*tokens[:200], *some_tokens(80, seed=1)]
    expected = {
        "new": (tokens, 300),
        "again": (tokens, 0),
        "its beginning": (tokens[:131], 0),
        "another end": (other, 280 - 3 * PAGE),
        "that again": (other, 0),
        "more": ([*tokens, *tokens[:20]], 320 - 4 * PAGE),
        "the first, which is its beginning now": (tokens, 0),
        "another first token": ([*tokens[1:], 1], 300),
        "less than a page in common": (tokens[:40] + tokens[:30], 70),
    }
    for what, (wanted, price) in expected.items():
        block = engine.prompt(wanted)
        assert (what, counted.take()) == (what, (price, 0))
        assert block.tokens == tuple(wanted)
        block.free()


def test_a_fork_copies_nothing_until_it_is_written_and_then_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(kv_memory=64 * PAGE * 1024)
    tokens = some_tokens(150)
    first, second = engine.prompt(tokens), engine.prompt(tokens)
    assert first.pages == second.pages
    assert engine.pool.used_pages == 3
    counted = Counted(engine, monkeypatch)
    engine.prefill([second], [5])
    assert counted.take() == (1, 150 - 2 * PAGE)
    assert first.pages[:2] == second.pages[:2]
    assert first.pages[2] != second.pages[2]
    assert engine.pool.used_pages == 4


# Exactness.


@pytest.mark.parametrize("length", [PREFILL_CHUNK - 1, PREFILL_CHUNK, PREFILL_CHUNK + 70])
def test_a_shared_prompt_gives_bitwise_the_same_logits(length: int) -> None:
    engine = tiny_team_engine(positions=2048)
    tokens = some_tokens(length)
    alone = first_logits(engine, engine.prompt(tokens, share=False), 7)
    read = first_logits(engine, engine.prompt(tokens), 7)
    forked = first_logits(engine, engine.prompt(tokens), 7)
    assert torch.equal(read, alone)
    assert torch.equal(forked, alone)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("name", ["Llama", "Gemma 3", "DeepSeek V3"])
def test_any_prompts_in_any_order_are_as_if_alone(name: str, data: st.DataObject) -> None:
    """Chunks begin elsewhere, so the last bits may differ; whatever is forked, written, evicted or cleared."""
    engine = tiny_engine(name, check=False)
    engine.prefixes.limit = data.draw(st.integers(0, 12))
    tokens, living = some_tokens(400), list[Block]()
    for _ in range(data.draw(st.integers(2, 8))):
        at = data.draw(st.sampled_from([0, 1, 63, 64, 65, 128, 150]))
        wanted = [*tokens[:at], *some_tokens(data.draw(st.integers(1, 90)), seed=data.draw(st.integers(1, 3)))]
        block = engine.prompt(wanted)
        own = engine.forward([Row([block], [9, 8, 7])], all_positions=True)  # a write into what may be shared
        with torch.inference_mode():
            plain = plain_logits(engine, [*wanted, 9, 8, 7])[-3:]
        assert largest_difference(own, plain) < 1e-4
        assert engine.prefixes.pages <= engine.prefixes.limit
        living.append(block)
        if data.draw(st.booleans()):
            living.pop(data.draw(st.integers(0, len(living) - 1))).free()
        if data.draw(st.integers(0, 5)) == 0:
            engine.prefixes.clear()
    for block in living:
        block.free()
    assert engine.pool.used_pages == 0
    engine.prefixes.clear()
    assert not engine.pool.kept.any()
    assert all(engine.pool.users(page) == 0 for page in range(engine.pool.total_pages))


def test_seeds_decide_whether_prompts_are_shared_or_not(prompt: Path) -> None:
    def sampled(engine: Engine, **options: Any) -> list[list[int]]:
        hot = Sampling(temperature=1.0)
        events = run(Team(engine, "Task " * 40, 2, prompt=prompt, sampling=hot, budget=30, **options))
        return [tokens_of(events, name) for name in ("Alice", "Bob")]

    engine = tiny_team_engine()
    first = sampled(engine, share_prompts=False)
    assert len(engine.prefixes) == 0
    assert [sampled(engine) for _ in range(3)] == [first] * 3
    assert len(engine.prefixes) == 1
    assert sampled(engine, seed=1) != first


# Room.


def kept_prompts(engine: Engine, *seeds: int, length: int = 100) -> None:
    for seed in seeds:
        engine.prompt(some_tokens(length, seed)).free()


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(kv_memory=64 * PAGE * 1024)
    engine.prefixes.limit = 6
    counted = Counted(engine, monkeypatch)
    kept_prompts(engine, 1, 2, 3)  # two pages each
    kept_prompts(engine, 1)
    assert counted.take() == (300, 0)
    kept_prompts(engine, 4)  # 2 goes
    kept_prompts(engine, 1, 3, 4)
    assert counted.take() == (100, 0)
    kept_prompts(engine, 2)
    assert counted.take() == (100, 0)
    assert engine.prefixes.pages == 6


def test_what_is_longer_than_the_limit_is_not_kept() -> None:
    engine = tiny_engine(kv_memory=64 * PAGE * 1024)
    engine.prefixes.limit = 2
    kept_prompts(engine, 1)
    kept_prompts(engine, 2, length=129)
    assert len(engine.prefixes) == 1
    engine.prefixes.limit = 0
    kept_prompts(engine, 3)
    assert engine.prefixes.pages == 2


def test_a_pool_that_runs_short_gets_its_pages_back(engine: Engine) -> None:
    engine.prefixes.limit = 16
    kept_prompts(engine, 1, 2, 3)
    assert (engine.pool.used_pages, engine.pool.free_pages, engine.prefixes.pages) == (0, 16, 6)
    block = engine.block()
    block.reserve(11 * PAGE)  # one page more than is empty: the oldest prompt goes
    assert (len(engine.prefixes), engine.prefixes.pages) == (2, 4)
    block.reserve(16 * PAGE)
    assert (len(engine.prefixes), engine.pool.free_pages) == (0, 0)
    with pytest.raises(CacheFull, match="0 of 16 free"):
        engine.prompt(some_tokens(3))


def test_what_is_in_use_is_kept_and_a_request_that_cannot_be_met_evicts_nothing(engine: Engine) -> None:
    engine.prefixes.limit = 16
    used = engine.prompt(some_tokens(100, 1))
    kept_prompts(engine, 2)
    with pytest.raises(CacheFull, match="15 pages of 64 tokens wanted, 14 of 16 free"):
        engine.block().reserve(15 * PAGE)
    assert len(engine.prefixes) == 2
    engine.block().reserve(14 * PAGE)
    assert len(engine.prefixes) == 1
    again = engine.prompt(some_tokens(100, 1))
    assert again.pages == used.pages


def test_prompts_with_a_common_beginning_are_counted_once(engine: Engine) -> None:
    engine.prefixes.limit = 16
    common = some_tokens(2 * PAGE)
    for seed in (1, 2):
        engine.prompt([*common, *some_tokens(50, seed)]).free()
    assert engine.prefixes.pages == 4
    engine.prefixes.give_back(1)
    assert engine.prefixes.pages == 3
    engine.prefixes.give_back(3)
    assert engine.prefixes.pages == 0
    assert all(engine.pool.users(page) == 0 for page in range(16))


def test_clear_leaves_the_blocks_of_others_as_they_are(engine: Engine) -> None:
    block = engine.prompt(some_tokens(100))
    before = first_logits(engine, block, 3)
    engine.prefixes.clear()
    assert (len(engine.prefixes), engine.prefixes.pages, engine.pool.used_pages) == (0, 0, 2)
    assert torch.equal(first_logits(engine, block, 3), before)


def test_a_pool_outlives_its_prefixes(engine: Engine) -> None:
    engine.prefixes = Prefixes(engine.pool)
    engine.block().reserve(16 * PAGE)
    with pytest.raises(CacheFull):
        engine.pool.require(17)


# Who sees what, and what breaks off.


def test_two_teams_share_only_what_is_the_same(prompt: Path) -> None:
    engine: ScriptedEngine = scripted()
    for task in ("My secret is 1. " * 9, "My secret is 2. " * 9):
        list(Team(engine, task, 2, prompt=prompt, budget=3).run())
    ours = [view for views in engine.seen[-3:] for view in views]
    theirs = [view for views in engine.seen[:4] for view in views]
    one = engine.tokenizer.encode("1") if engine.tokenizer is not None else []
    assert all(set(one) & set(view) for view in theirs)
    assert not any("secret is 1" in engine.tokenizer.decode(view) for view in ours if engine.tokenizer is not None)


def test_nothing_is_shared_by_who_does_not_want_it(prompt: Path) -> None:
    engine, passes_of = scripted(), []
    for share in (True, True, False):
        engine.seen.clear()
        (read,) = of_kind(run(Team(engine, "Task", 2, prompt=prompt, budget=3, share_prompts=share)), "prefilled")
        assert read.done == read.total
        passes_of.append(len(engine.seen))
    assert passes_of[0] == passes_of[1] + 1 == passes_of[2]  # the prompt is read, is shared, is read again
    with pytest.raises(OptionError, match="share_prompts is 1: give True or False"):
        Team(engine, "Task", 2, prompt=prompt, share_prompts=1)


def test_progress_begins_with_what_is_shared() -> None:
    engine = tiny_team_engine(positions=4096)
    tokens, calls = some_tokens(1500), list[tuple[int, int]]()
    engine.prompt(tokens[:200])
    engine.prompt(tokens, lambda done, total: calls.append((done, total)))
    assert calls == [(192, 1500), (704, 1500), (1216, 1500), (1500, 1500)]


def test_a_bad_token_changes_nothing(engine: Engine) -> None:
    with pytest.raises(BlockError, match="but the model knows"):
        engine.prompt([*some_tokens(100), 10**6])
    assert (engine.pool.used_pages, len(engine.prefixes)) == (0, 0)
    assert len(engine.prompt([])) == 0


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_cancelled_prompt_leaves_nothing_behind(at: int) -> None:
    engine = tiny_team_engine(positions=4096)
    tokens = some_tokens(1400)
    engine.prompt(tokens[:300]).free()

    def cancel(done: int, total: int) -> None:
        if done == (256, 768, 1280)[at]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.prompt(tokens, cancel)
    assert (engine.pool.used_pages, len(engine.prefixes)) == (0, 1)
    block = engine.prompt(tokens)
    with torch.inference_mode():
        plain = plain_logits(engine, [*tokens, 5])[-1:]
    assert largest_difference(first_logits(engine, block, 5), plain) < 1e-4


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
def test_a_team_that_is_closed_while_it_reads_leaves_no_page_in_use(prompt: Path, at: int) -> None:
    engine = tiny_team_engine(positions=4096)
    events: Iterator[Any] = Team(engine, "Task " * 280, 2, prompt=prompt).run()
    for _, _ in zip(range(at + 1), events, strict=False):
        pass
    events.close()  # type: ignore[attr-defined]
    assert engine.pool.used_pages == 0
    assert len(engine.prefixes) == (at > 0)  # what was read by then: the first chunk, and what it began
    assert len(run(Team(engine, "Task " * 280, 2, prompt=prompt, budget=2))) > 4


def test_an_interrupt_inside_the_model_frees_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_team_engine()

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(passes, "plan_pass", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.prompt(some_tokens(100))
    assert (engine.pool.used_pages, len(engine.prefixes)) == (0, 0)


def test_an_owner_shares_whole_prompts_with_itself_alone() -> None:
    engine = tiny_team_engine()
    prefixes, tokens = engine.prefixes, some_tokens(3 * PAGE)
    prefixes.keep(engine.prompt(tokens, share=False), "a")
    prefixes.keep(engine.prompt(tokens[: 2 * PAGE], share=False), "a")
    prefixes.keep(engine.prompt(tokens[:PAGE], share=False))
    asked = (tokens, tokens[: 2 * PAGE], tokens[:PAGE], [*tokens, 1])
    found = {owner: [len(prefixes.fork(one, owner)) // PAGE for one in asked] for owner in ("a", "b", None)}
    assert found == {"a": [3, 2, 0, 0], "b": [0, 0, 0, 0], None: [1, 1, 1, 1]}
