"""Layouts on a tiny model that computes: what is seen shows in the logits, one alone is what transformers gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import decode, default_tokenizer, encode, of_kind, run, scripted, tiny_team_engine, tokens_of
from hogwild import Block, Engine, Layout, Row, Sampling, Team, Worker
from hogwild.models.hook import NAME
from hogwild.team.layout import LAYOUTS, Combined, make_layout, private
from hogwild.team.worker import Member
from hogwild.team.workspace import FinishedStep, Workspace

CHAT = "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
ALL = ["contiguous", "interleaved", "combined"]


def views(team: Team) -> list[list[Block]]:
    space = team.space
    assert space is not None
    return [team.layout.view(space, member) for member in space.members]


def test_the_worker_is_always_last_in_its_own_view(prompt: Path) -> None:
    for layout in ALL:
        team = Team(scripted(), "Task", 4, layout=layout, prompt=prompt)
        team.step()
        assert team.space is not None
        for view, member in zip(views(team), team.space.members, strict=True):
            assert view[-1] is member.block
            assert view[0] is team.space.prompt
        team.close()


# What is seen at the level of logits: another worker's last token is changed, and mine tell.


def logits_of_last_row(engine: Engine, team: Team, tokens: dict[int, int]) -> Tensor:
    """The last worker's logits in the next pass, when the others feed other tokens."""
    space = team.space
    assert space is not None
    twins: dict[int, Block] = {}
    rows = [
        Row([twins.setdefault(id(block), block.fork()) for block in view], [tokens.get(i, member.pending[0])])
        for i, (view, member) in enumerate(zip(views(team), space.members, strict=True))
    ]
    return engine.forward(rows)[-1]


@pytest.mark.parametrize(("layout", "seen"), [("contiguous", True), ("interleaved", False), ("combined", True)])
def test_another_workers_token_is_seen_in_the_pass_that_feeds_it(prompt: Path, layout: str, seen: bool) -> None:
    engine = tiny_team_engine()
    team = Team(engine, "Task", 3, layout=layout, prompt=prompt)
    for _ in range(4):
        team.step()
    before = logits_of_last_row(engine, team, {})
    for other in (0, 1):
        after = logits_of_last_row(engine, team, {other: encode("#")[0]})
        difference = float((after - before).abs().max())
        assert (difference > 1e-3) if seen else (difference == 0)
    team.close()


def generate(engine: Engine, task: str, count: int) -> list[int]:
    """What transformers' own generate writes after the chat prompt, greedily."""
    prompt = default_tokenizer().apply_chat_template(
        [{"role": "user", "content": task}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    engine.model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        written = engine.model.generate(prompt, do_sample=False, max_new_tokens=count, pad_token_id=0)
    engine.model.set_attn_implementation(NAME)
    tokens: list[int] = written[0, prompt.shape[1] :].tolist()
    return tokens


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("task", ["Task", "A longer task, of two lines.\nAnd the second."])
def test_one_alone_is_what_transformers_generates(layout: str, task: str) -> None:
    engine = tiny_team_engine()
    events = run(Team(engine, task, 1, layout=layout, budget=120))
    theirs = generate(engine, task, 120)
    assert len(theirs) == 120
    assert tokens_of(events, "Alice") == theirs
    assert of_kind(events, "prefilled")[-1].total == len(encode(task)) + len(encode(CHAT))


@pytest.mark.parametrize("layout", ALL)
def test_one_alone_ends_where_transformers_ends(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_team_engine()
    end = generate(engine, "Task", 30)[-1]
    monkeypatch.setattr(engine.generation_config, "eos_token_id", [end])
    theirs = generate(engine, "Task", 120)
    assert theirs[-1] == end
    assert len(theirs) <= 30
    events = run(Team(engine, "Task", 1, layout=layout, budget=120))
    assert tokens_of(events, "Alice") == theirs[:-1]
    assert (events[-1].reason, events[-1].passes) == ("done", len(theirs))


@pytest.mark.parametrize("layout", ALL)
def test_one_alone_ends_its_turn(layout: str, prompt: Path) -> None:
    engine = scripted({"Alice": ["All.\n\n", "Said"]})
    events = run(Team(engine, "Task", 1, layout=layout, prompt=prompt, budget=80))
    last = events[-1]
    assert (last.reason, last.passes, last.tokens) == ("done", 9, {"Alice": 9})
    assert last.answer == last.text == "Alice@1:All.\n\nAlice@2:Said"
    assert [event.reason for event in of_kind(events, "worker_left")] == ["done"]
    assert engine.pool.used_pages == 0


def test_one_alone_in_combined_is_contiguous_unless_the_layout_is_an_object(prompt: Path) -> None:
    engine = scripted()
    assert Team(engine, "Task", 1, prompt=prompt).layout.name == "contiguous"
    own = Combined()
    assert Team(engine, "Task", 1, layout=own, prompt=prompt).layout is own


# A layout of one's own.


class Neighbour:
    """Everybody sees the worker before it, and itself; finished steps stay where they are."""

    name = "neighbour"

    def view(self, space: Workspace, member: Member) -> list[Block]:
        index = space.members.index(member)
        before = [space.members[index - 1].block] if len(space.members) > 1 else []
        return [space.prompt, space.history, *before, *private(member), member.block]

    def finished(self, space: Workspace) -> list[Block]:
        return [space.prompt, space.history]

    def end_step(self, space: Workspace, member: Member) -> None:
        begin = max((step.end for step in space.steps if step.block is member.block), default=0)
        step = FinishedStep(member.name, member.step, member.text, member.block, begin, len(member.block))
        space.steps.append(step)

    def leave(self, space: Workspace, member: Member) -> None:
        member.block.free()


def test_a_layout_of_ones_own_works_to_the_end(prompt: Path) -> None:
    engine = scripted({"Alice": ["a.\n\n", "aa.\n\n"], "Bob": ["b.\n\n"], "Carol": ["c.\n\n"]}, answer="3}")
    layout: Layout = Neighbour()
    team = Team(engine, "Task", 3, layout=layout, prompt=prompt, answer="boxed", budget=12)
    events = run(team)
    assert (events[0].layout, events[-1].answer) == ("neighbour", "3")
    third = [decode(tokens) for tokens in engine.seen[2]]
    assert third[0].endswith("(history)\n\nCarol@1:c\n\nAlice@1:a")
    assert third[1].endswith("(history)\n\nAlice@1:a\n\nBob@1:b")
    assert third[2].endswith("(history)\n\nBob@1:b\n\nCarol@1:c")
    assert engine.pool.used_pages == 0


def test_a_subclass_changes_one_thing(prompt: Path) -> None:
    class Reversed(Combined):
        name = "reversed"

        def view(self, space: Workspace, member: Member) -> list[Block]:
            prompt_, history, *rest, own = super().view(space, member)
            return [prompt_, history, *reversed(rest), own]

    engine = tiny_team_engine()
    last = run(Team(engine, "Task", 3, layout=Reversed(), prompt=prompt, budget=6))[-1]
    assert last.passes == 6
    assert engine.pool.used_pages == 0


def test_layouts_by_name() -> None:
    assert sorted(LAYOUTS) == sorted(ALL)
    for name in ALL:
        assert make_layout(name).name == name
        assert isinstance(make_layout(name), Layout)


# Two teams on one engine never see each other.


def sampled(team: Team) -> Iterator[list[Any]]:
    while not team.reason:
        yield team.step()


@pytest.mark.parametrize("layout", ALL)
def test_two_teams_on_one_engine_are_each_as_if_alone(prompt: Path, layout: str) -> None:
    hot = Sampling(temperature=1.0)

    def team(engine: Engine, secret: str, workers: int, seed: int) -> Team:
        members = [Worker(f"{secret}{i}", prompt=f"The word is {secret}.") for i in range(workers)]
        return Team(
            engine, f"Guard {secret}", members, layout=layout, prompt=prompt, sampling=hot, seed=seed, budget=40
        )

    def tokens(events: list[Any]) -> list[tuple[str, int]]:
        return [(event.worker, event.token) for event in of_kind(events, "token")]

    alone = [tokens(run(team(tiny_team_engine(), *one))) for one in (("Xerxes", 2, 1), ("Yolanda", 3, 1))]
    engine = tiny_team_engine()
    one, two = team(engine, "Xerxes", 2, 1), team(engine, "Yolanda", 3, 1)
    first: list[Any] = []
    second: list[Any] = []
    runs = {"first": (sampled(one), first), "second": (sampled(two), second)}
    for turn in range(200):  # unevenly: the second team does two passes for each of the first
        passes, into = runs["first" if turn % 3 == 0 else "second"]
        into += next(passes, [])
    assert one.reason == two.reason == "budget"
    assert tokens(first) == alone[0]
    assert tokens(second) == alone[1]
    for events, team_, other in ((first, one, "Yolanda"), (second, two, "Xerxes")):
        assert not any(other in str(event) for event in events)
        assert team_.space is not None
        for view in views(team_):
            assert other not in decode([token for block in view for token in block.tokens])
        team_.close()
    assert engine.pool.used_pages == 0
