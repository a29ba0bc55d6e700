"""Who does what: parts that are given, dealt out, found by a plan; who sees them, and when their workers are done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import (
    LAYOUTS,
    ScriptedEngine,
    decode,
    encode,
    kinds,
    of_kind,
    prompt_folder,
    run,
    scripted,
    tiny_team_engine,
)
from hogwild import Sampling, Team, Worker
from hogwild.errors import OptionError
from hogwild.team.parts import Part, cut, deal, parse_plan
from hogwild.team.planner import PLAN_TOKENS

# Dealing.


def test_a_flat_list_is_cut_in_order() -> None:
    assert deal(["a", " b ", "c"], 2) == [[Part(1, "a"), Part(2, "b")], [Part(3, "c")]]


def test_a_nested_list_says_who_does_what() -> None:
    assert deal([["a"], [], ("b", "c")], 3) == [[Part(1, "a")], [], [Part(2, "b"), Part(3, "c")]]


@given(st.lists(st.integers()), st.integers(1, 16))
def test_a_cut_keeps_all_in_order_and_is_even(items: list[int], runs: int) -> None:
    shares = cut(items, runs)
    assert [item for share in shares for item in share] == items
    assert len(shares) == runs
    lengths = [len(share) for share in shares]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


@pytest.mark.parametrize(
    ("assign", "problem"),
    [
        ([], "at least one part"),
        ([[], []], "at least one part"),
        (["a", " "], "not empty"),
        (["a", ["b"]], "mixes parts and lists"),
        ([["a"]], "has 1 lists for 2 workers"),
        (["a"], "fewer parts than workers (1 for 2)"),
        ([["a"], [3]], "not empty"),
        ([3, 4], "not empty"),
        ("all", "assign is 'all'"),
        (7, "assign is 7"),
    ],
)
def test_what_cannot_be_dealt(assign: Any, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        deal(assign, 2)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


# Parts in a team.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_workers_parts_are_in_its_own_view_only(prompt: Path, layout: str) -> None:
    engine = scripted({"Alice": ["x"] * 3, "Bob": ["y.\n\n", "and more"]}, answer="1}")
    team = Team(engine, "Task", 2, layout=layout, prompt=prompt, assign=["first", "second"], answer="boxed")
    events = run(team)
    (planned,) = of_kind(events, "planned")
    assert planned.parts == {"Alice": ["first"], "Bob": ["second"]}
    assert events[0].settings["assign"] == [["first"], ["second"]]
    alice, bob = map(decode, engine.seen[1])
    assert "(for Alice: first)Alice@1:" in alice
    assert "(for Bob: second)Bob@1:" in bob
    assert "second" not in alice
    assert "first" not in bob
    for views in engine.seen[2:]:
        for view in map(decode, views):
            assert not ("first" in view and "second" in view)
            assert not ("[finish]" in view and ("first" in view or "second" in view))
            if len(views) == 2:
                assert "first" in view or "second" in view


def test_workers_with_parts_are_done_when_they_end_their_turn(prompt: Path) -> None:
    engine = scripted({"Alice": ["One is done.\n\n", "Two is, too"], "Bob": ["Three"]}, answer="All done.")
    events = run(Team(engine, "Task", 2, prompt=prompt, assign=["one", "two", "three"]))
    assert [(e.worker, e.reason) for e in of_kind(events, "worker_left")] == [("Bob", "done"), ("Alice", "done")]
    assert [event.text for event in of_kind(events, "step_finished")] == [
        "Bob@1:Three", "Alice@1:One is done.", "Alice@2:Two is, too",
    ]  # fmt: skip
    last = events[-1]
    assert (last.reason, last.answer) == ("done", "All done.")
    assert last.tokens == {"Alice": len("One is done") + 1 + len("Two is, too") + 1, "Bob": len("Three") + 1}
    assert "budget_reached" not in kinds(events)
    assert engine.pool.used_pages == 0
    finisher = decode(engine.seen[-1][0])
    assert "(history)\n\nBob@1:Three\n\nAlice@1:One is done.\n\nAlice@2:Two is, too[finish]" in finisher


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_texts_of_workers_with_private_blocks_are_kept_apart(prompt: Path, layout: str) -> None:
    """Each begins right behind its private block; others see a gap before it, unfinished or finished."""
    engine = scripted({"Alice": ["a.\n\n", "aa"], "Bob": ["b.\n\n"], "Carol": ["c, c, c, c"]})
    events = run(Team(engine, "Task", 3, layout=layout, prompt=prompt, assign=["1", "2", "3"], budget=30))
    assert events[-1].reason == "done"
    for views in engine.seen[1:]:
        for view in map(decode, views):
            for name in ("Alice", "Bob", "Carol"):
                assert re.search(rf"(\n\n|\(for {name}: \d\)){name}@1:", view) or f"{name}@1" not in view
    assert engine.pool.used_pages == 0


def test_all_see_what_a_worker_that_is_done_has_written(prompt: Path) -> None:
    for layout in LAYOUTS:
        engine = scripted({"Alice": ["A long, long text"], "Bob": ["Hi"]})
        run(Team(engine, "Task", 2, layout=layout, prompt=prompt, assign=[["a"], ["b"]]))
        alone = next(decode(views[0]) for views in engine.seen[2:] if len(views) == 1)
        assert "Bob@1:Hi" in alone


def test_parts_for_one_alone(prompt: Path) -> None:
    engine = scripted({"Alice": ["Done"]})
    last = run(Team(engine, "Task", 1, prompt=prompt, assign=["a", "b"]))[-1]
    assert (last.text, last.reason) == ("Alice@1:Done", "done")
    assert decode(engine.seen[1][0]).endswith(
        "Task [Alice]\n\n(for Alice: a, b)<|im_end|>\n<|im_start|>assistant\n(history)Alice@1:"
    )


@pytest.mark.parametrize("assign", ["none", ["a"], ["a", "b"]])
def test_one_alone_has_its_role_in_the_message_and_no_empty_turn(assign: Any) -> None:
    engine = scripted(positions=16384)
    run(Team(engine, "Why?", [Worker("Alice", prompt="You doubt.")], prompt="default", assign=assign, budget=2))
    view = decode(engine.seen[1][0])
    message = view.removeprefix("<|im_start|>user\n").removesuffix("<|im_end|>\n<|im_start|>assistant\n")
    parts = {
        0: "",
        1: "\n\na",
        2: "\n\nDo these, one after the other, each in one short line that begins with its number.\n\n1. a\n2. b",
    }
    assert message == "Why?\n\nYou doubt." + parts[0 if assign == "none" else len(assign)]


def test_a_worker_without_parts_beside_one_with_some_does_not_share_out() -> None:
    engine = scripted(positions=16384)
    run(Team(engine, "Task", 2, prompt="default", assign=[[], ["a"]], budget=2))
    alice = decode(next(views for views in engine.seen if len(views) == 2)[0])
    assert "split the work" not in alice
    assert "Alice [1]: " in alice


def test_a_role_and_parts_share_the_private_block(prompt: Path) -> None:
    engine = scripted()
    workers = [Worker("Alice", prompt="You check."), Worker("Bob")]
    team = Team(engine, "Task", workers, prompt=prompt, assign=[[], ["b"]], budget=3)
    run(team)
    alice, bob = map(decode, engine.seen[1])
    assert "(for Alice: You check.)" in alice
    assert "(for Bob: b)" in bob


def test_markers_in_a_part_are_harmless(prompt: Path) -> None:
    engine = scripted()
    run(Team(engine, "Task", 2, prompt=prompt, assign=["a<|im_end|>", "b"], budget=2))
    assert decode(engine.seen[1][0]).count("<|im_end|>") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_say_before_the_first_word(prompt: Path, workers: int) -> None:
    """Without a prefix and an opening, a worker begins with the last token of what stands right before."""
    silent = prompt_folder(prompt, step="", own="")
    engine = scripted()
    team = Team(engine, "Task", workers, prompt=silent, assign=["first", "second"][:workers], budget=2)
    run(team)
    for view, part in zip(map(decode, engine.seen[1]), ("first", "second"), strict=False):
        assert view.endswith(f": {part})" if workers > 1 else "<|im_start|>assistant\n(history)")
    if workers == 2:  # that token is nobody else's
        assert decode(engine.seen[2][1]).endswith("(history)(others)\n\nx(for Bob: second)x")
    assert engine.pool.used_pages == 0


# Plans.

PLAN = "Here is my plan:\n1. Look it up.\n2) **Add it.**\n3: Check.\n\nDone"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (PLAN, ["Look it up.", "Add it.", "Check."]),
        ("1. a\n1. a\n2. b", ["a", "b"]),
        ("Part 1: a\n**2. b**\n  3. c", ["a", "b", "c"]),
        ("1.\n2.   \n- a\nb", []),
        ("", []),
        ("\n".join(f"{i}. part {i}" for i in range(1, 20)), [f"part {i}" for i in range(1, 9)]),
    ],
)
def test_a_plans_numbered_lines_are_the_parts(text: str, parts: list[str]) -> None:
    assert parse_plan(text, 8) == parts


def planned(plan: str, prompt: Path, workers: int = 2, **options: Any) -> tuple[ScriptedEngine, list[Any]]:
    engine = scripted({"Alice": ["a"], "Bob": ["b"]}, plan=plan, answer="1}")
    return engine, run(Team(engine, "Task", workers, prompt=prompt, assign="plan", answer="boxed", **options))


def test_a_plan_is_dealt_out(prompt: Path) -> None:
    engine, events = planned(PLAN, prompt)
    assert decode(engine.seen[0][0]).startswith("<|im_start|>user\n[plan 8] Task<|im_end|>")
    (found,) = of_kind(events, "planned")
    assert found.parts == {"Alice": ["Look it up.", "Add it."], "Bob": ["Check."]}
    assert found.pass_ == len(encode(PLAN))
    assert events[-1].passes == len(encode(PLAN)) + 2
    assert (events[0].settings["assign"], events[-1].reason) == ("plan", "done")
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize("plan", ["I cannot.", "1. Only this.", ""])
def test_what_cannot_be_split_is_left_to_the_workers(prompt: Path, plan: str) -> None:
    engine, events = planned(plan, prompt, budget=60)
    assert [event.parts for event in of_kind(events, "planned")] == [{}]
    assert (events[-1].reason, events[-1].passes) == ("budget", 60)
    assert "Task" in decode(engine.seen[-1][0])


def test_with_fewer_parts_than_workers_some_have_nothing_to_do(prompt: Path) -> None:
    _, events = planned("1. a\n2. b", prompt, workers=3)
    assert of_kind(events, "planned")[0].parts == {"Alice": ["a"], "Bob": ["b"], "Carol": []}
    assert [event.worker for event in of_kind(events, "worker_left")] == ["Carol", "Alice", "Bob"]
    assert events[-1].tokens == {"Alice": 2, "Bob": 2, "Carol": 0}


def test_a_plan_has_its_longest_and_half_the_budget(prompt: Path) -> None:
    endless = "1. first\n2. second\n" + "x" * 500
    for budget, passes in ((1000, PLAN_TOKENS), (100, 50)):
        _, events = planned(endless, prompt, budget=budget)
        assert of_kind(events, "planned")[0].pass_ == passes
        assert of_kind(events, "planned")[0].parts == {"Alice": ["first"], "Bob": ["second"]}


def test_a_stop_amid_the_plan_ends_it(prompt: Path) -> None:
    engine = scripted(plan="x" * 500, answer="1}")
    team = Team(engine, "Task", 2, prompt=prompt, assign="plan", answer="boxed")
    calls = [0]

    def hook() -> None:
        calls[0] += 1
        if calls[0] == 6:  # the question, and five tokens
            team.stop()

    engine.hook = hook
    last = run(team)[-1]
    assert (last.reason, last.answer, last.passes) == ("stopped", "1", 5)


def test_a_plan_is_drawn_by_the_seed(prompt: Path) -> None:
    texts = set()
    hot = Sampling(temperature=9.0)
    for seed in (1, 1, 2):
        engine = scripted(plan="1. a\n2. b")
        run(Team(engine, "Task", 2, prompt=prompt, assign="plan", seed=seed, sampling=hot, budget=20))
        texts.add(decode(engine.seen[2][0]))
    assert len(texts) == 2


def test_with_the_prompt_set_steps_parts_are_thought_about() -> None:
    told = {}
    for prompt in ("default", "steps"):
        one = Team(tiny_team_engine(), "task", 2, assign=["a?", "b?", "c?"], prompt=prompt)
        told[prompt] = [
            one.setup.text("private", me=name, role="", parts=one.setup.parts[name]) for name in ("Alice", "Bob")
        ]
    assert ["step by step" in text for text in told["default"]] == [False, False]
    assert "in one short line" in told["default"][0]
    assert ["step by step" in text for text in told["steps"]] == [True, True]
    assert "1. a?\n2. b?" in told["steps"][0].replace("\n\n", "\n")
