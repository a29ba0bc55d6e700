"""Parts that are handed out one by one, to whoever is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import LAYOUTS, decode, kinds, of_kind, prompt_folder, run, scripted
from hogwild import Team, Worker
from hogwild.errors import OptionError

SCRIPT = {"Alice": ["a long text for it"], "Bob": ["b", "c.\n\nAnd more", "d, and last"]}
PARTS = ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_who_is_free_takes_the_next_part(prompt: Path, layout: str) -> None:
    engine = scripted(SCRIPT, answer="1, 2, 3, 4}")
    team = Team(engine, "Task", 2, layout=layout, prompt=prompt, assign=PARTS, answer="boxed", one_by_one=True)
    events = run(team)
    assert [event.parts for event in of_kind(events, "planned")] == [
        {"Alice": ["first"], "Bob": ["second"]},
        {"Alice": ["first"], "Bob": ["second", "third"]},
        {"Alice": ["first"], "Bob": ["second", "third", "fourth"]},
    ]
    assert [(one.worker, one.text) for one in of_kind(events, "step_finished")] == [
        ("Bob", "Bob@1:b"),
        ("Bob", "Bob@2:c.\n\nAnd more"),  # a blank line ends no part
        ("Alice", "Alice@1:a long text for it"),
        ("Bob", "Bob@3:d, and last"),
    ]
    assert [one.worker for one in of_kind(events, "worker_left")] == ["Alice", "Bob"]
    assert (events[-1].reason, events[-1].answer) == ("done", "1, 2, 3, 4")
    assert events[0].settings["assign"] == PARTS
    assert engine.pool.used_pages == 0


def test_each_sees_its_own_part_right_before_its_words(prompt: Path) -> None:
    engine = scripted(SCRIPT)
    run(Team(engine, "Task", 2, prompt=prompt, assign=PARTS, one_by_one=True))
    views = [decode(view) for seen in engine.seen for view in seen]
    assert any(view.endswith("(for Bob: third)Bob@2:c") for view in views)
    assert any("(history)\n\nBob@1:b(others)\n\nAlice@1:a" in view and "(for Bob: third)" in view for view in views)
    for view in views:
        assert sum(f": {part})" in view for part in PARTS) <= 1
    finisher = views[-1]
    assert "Bob@1:b\n\nBob@2:c.\n\nAnd more\n\nAlice@1:a long text for it\n\nBob@3:d, and last[finish]" in finisher


def test_in_one_block_the_question_follows_the_last_answer(prompt: Path) -> None:
    engine = scripted(SCRIPT)
    run(Team(engine, "Task", 2, layout="contiguous", prompt=prompt, assign=PARTS, one_by_one=True))
    views = [decode(view) for seen in engine.seen for view in seen]
    assert any(view.endswith("(for Bob: second)Bob@1:b(for Bob: third)Bob@2:c") for view in views)


def test_nothing_to_say_before_the_first_word_of_a_part(prompt: Path) -> None:
    silent = prompt_folder(prompt, step="", own="")
    engine = scripted()
    events = run(Team(engine, "Task", 2, prompt=silent, assign=PARTS, one_by_one=True, budget=3))
    assert events[-1].reason == "budget"
    assert engine.pool.used_pages == 0


def test_who_ends_at_once_takes_the_next_part(prompt: Path) -> None:
    engine = scripted({"Alice": ["", "", "", ""], "Bob": ["a text"]})
    events = run(Team(engine, "Task", 2, prompt=prompt, assign=PARTS, one_by_one=True))
    assert of_kind(events, "planned")[-1].parts == {"Alice": ["first", "third", "fourth"], "Bob": ["second"]}
    assert events[-1].reason == "done"
    assert engine.pool.used_pages == 0


def test_a_plan_is_handed_out_in_the_same_way(prompt: Path) -> None:
    engine = scripted({"Alice": ["a", "c"], "Bob": ["b is long"]}, plan="1. one\n2. two\n3. three")
    events = run(Team(engine, "Task", 2, prompt=prompt, assign="plan", one_by_one=True))
    assert of_kind(events, "planned")[-1].parts == {"Alice": ["one", "three"], "Bob": ["two"]}
    assert events[-1].reason == "done"


def test_one_alone_has_all_parts(prompt: Path) -> None:
    engine = scripted({"Alice": ["Done"]})
    events = run(Team(engine, "Task", 1, prompt=prompt, assign=["a", "b"], one_by_one=True))
    assert "(for Alice: a, b)" in decode(engine.seen[1][0])
    assert kinds(events).count("planned") == 1


def test_who_joins_takes_a_part_and_who_leaves_gives_his_back(prompt: Path) -> None:
    engine = scripted({"Alice": ["a", "c"], "Bob": ["b " * 40], "Carol": ["x"]})
    team = Team(engine, "Task", 2, prompt=prompt, assign=PARTS, one_by_one=True)
    events: list[Any] = []
    for event in team.run():
        events.append(event)
        if event.kind == "token" and team.passes == 1 and event.worker == "Bob":
            team.leave("Bob")
            team.join(Worker("Carol"))
    assert of_kind(events, "planned")[-1].parts["Carol"] != []
    dealt = [part for parts in of_kind(events, "planned")[-1].parts.values() for part in parts]
    assert sorted(dealt) == sorted(PARTS)
    assert events[-1].reason == "done"
    assert engine.pool.used_pages == 0


def test_the_standard_prompt_numbers_the_parts() -> None:
    engine = scripted(positions=16384)
    run(Team(engine, "Task", 2, prompt="default", assign=PARTS, one_by_one=True, budget=2))
    alice, bob = map(decode, next(views for views in engine.seen if len(views) == 2))
    assert alice.endswith("first<|im_end|>\n<|im_start|>assistant\n1.")
    assert bob.endswith("second<|im_end|>\n<|im_start|>assistant\n2.")


def test_what_is_no_truth_value_is_refused(prompt: Path) -> None:
    with pytest.raises(OptionError, match="one_by_one is 'yes'"):
        Team(scripted(), "Task", 2, prompt=prompt, assign=PARTS, one_by_one="yes")
