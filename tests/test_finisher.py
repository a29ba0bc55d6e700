"""The finisher: what it reads, how long it writes, how it is parsed, and that it disturbs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import (
    LAYOUTS,
    ScriptedEngine,
    decode,
    make_tokenizer,
    of_kind,
    prompt_folder,
    run,
    scripted,
    tiny_team_engine,
)
from hogwild import Sampling, Team, Worker
from hogwild.team.finisher import is_complete
from hogwild.team.settings import Settings

PROMPT = "<|im_start|>user\nTask [Alice, Bob]<|im_end|>\n<|im_start|>assistant\n(history)"


def finish(engine: ScriptedEngine, prompt: Path, **options: Any) -> Any:
    """The last event of a short run."""
    return run(Team(engine, "Task", **{"workers": 2, "prompt": prompt, "budget": 6, **options}))[-1]


@pytest.mark.parametrize(
    ("form", "written", "answer", "text"),
    [
        ("boxed", "42} and more", "42", r"[finish]\boxed{42}"),
        ("boxed", r"\frac{1}{x^{2}}} and more", r"\frac{1}{x^{2}}", r"[finish]\boxed{\frac{1}{x^{2}}}"),
        ("boxed", r"\{1, 2\}} more", r"\{1, 2\}", r"[finish]\boxed{\{1, 2\}}"),
        ("boxed", r"[0, 1\}} more", r"[0, 1\}", r"[finish]\boxed{[0, 1\}}"),
        ("boxed", "never closed", None, r"[finish]\boxed{never closed"),
        ("number", "1,234 apples\nand more", "1234", "#### 1,234 apples"),
        ("number", "\n\n12\nmore", "12", "#### 12"),
        ("number", "none", None, "#### none"),
        ("code", "python\nprint('```')\n```\nmore", "print('```')", "```python\nprint('```')\n```"),
        ("text", " It is 42.\n", "It is 42.", "It is 42."),
        ("text", "\n\n", None, "Alice@1:xxxxxx\n\nBob@1:xxxxxx"),
    ],
)
def test_forms(prompt: Path, form: str, written: str, answer: str | None, text: str) -> None:
    last = finish(scripted(answer=written), prompt, answer=form)
    assert (last.answer, last.text) == (answer, text)


@pytest.mark.parametrize(("form", "limit"), [("number", 16), ("boxed", 64), ("text", 256), ("code", 1024)])
def test_an_answer_is_cut_at_its_longest(prompt: Path, form: str, limit: int) -> None:
    assert Settings(answer=form).longest_answer == limit
    for longest in (limit, 5) if limit < 1000 else (5,):
        engine = scripted(answer="9" * 2000)
        tokens = None if longest == limit else longest
        events = run(Team(engine, "Task", 2, prompt=prompt, budget=3, answer=form, answer_tokens=tokens))
        assert len(of_kind(events, "answer_token")) == longest
        assert events[-1].passes == 3
        assert len(engine.seen) == 1 + 3 + 2 + longest - 1  # prompt, passes, pending and question, tokens but the last


def test_the_end_of_the_turn_ends_the_answer(prompt: Path) -> None:
    events = run(Team(scripted(answer="7"), "Task", 2, prompt=prompt, budget=3, answer="number"))
    assert [event.text for event in of_kind(events, "answer_token")] == ["7"]
    assert events[-1].answer == "7"


def test_a_box_of_the_task_is_an_answer_when_the_finisher_gives_it(prompt: Path) -> None:
    engine = scripted(answer="5}")
    last = run(Team(engine, r"Is it \boxed{5} or \boxed{6}?", 2, prompt=prompt, budget=3, answer="boxed"))[-1]
    assert last.answer == "5"


# What it reads.


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("contiguous", "\n\nAlice@1:One.\n\nAlice@2:tw...\n\nBob@1:xxxxxx..."),
        ("interleaved", "\n\nAlice@1:One.\n\nAlice@2:tw...\n\nBob@1:xxxxxx..."),
        ("combined", "\n\nAlice@1:One.\n\nAlice@2:tw...\n\nBob@1:xxxxxx..."),
    ],
)
def test_it_reads_all_that_was_written_each_unfinished_step_closed(prompt: Path, layout: str, expected: str) -> None:
    engine = scripted({"Alice": ["One.\n\n", "two"]}, answer="1}")
    finish(engine, prompt, layout=layout, answer="boxed")
    assert decode(engine.seen[-1][0]) == PROMPT + expected + r"[finish]\boxed{1"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_step_that_has_not_begun_is_not_closed(prompt: Path, layout: str) -> None:
    engine = scripted({"Alice": ["Three?\n\n"], "Bob": ["x?\n\n", "y"]}, answer="1}")
    finish(engine, prompt, layout=layout, answer="boxed", budget=7)
    written = decode(engine.seen[-1][0]).removeprefix(PROMPT)
    assert written.count("...") == 1
    assert "Bob@2:yxxx..." in written
    assert "?..." not in written


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_reads_no_private_block(prompt: Path, layout: str) -> None:
    engine = scripted(answer="1}")
    workers = [Worker("Alice", prompt="secret"), Worker("Bob")]
    finish(engine, prompt, workers=workers, layout=layout, answer="boxed")
    assert any("secret" in decode(view) for views in engine.seen for view in views)
    assert "secret" not in decode(engine.seen[-1][0])


@pytest.mark.parametrize(
    ("form", "question"),
    [
        ("boxed", "[finish]\\boxed{"),
        ("text", "[finish]<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ],
)
def test_a_thinking_models_thoughts_are_closed_first_and_not_begun_again(
    prompt: Path, form: str, question: str
) -> None:
    prompt_folder(prompt, finish_text="[finish]{{ turn.assistant }}")
    engine = scripted(tokenizer=make_tokenizer(thinking=True))
    team = Team(engine, "Task", 2, prompt=prompt, answer=form)
    assert team.setup.finisher_text() == "\n</think>\n\n" + question
    list(team.prepare())
    assert team.space is not None
    assert team.codec.decode(list(team.space.prompt.tokens)).endswith("<|im_start|>assistant\n<think>\n(history)")
    team.close()


def test_one_thinker_alone_opens_its_thoughts_itself(prompt: Path) -> None:
    engine = scripted(tokenizer=make_tokenizer(thinking=True))
    team = Team(engine, "Task", 1, prompt=prompt)
    list(team.prepare())
    assert team.space is not None
    assert "<think>" not in team.codec.decode(list(team.space.prompt.tokens))
    team.close()


# When it is asked.


def test_one_alone_is_asked_for_a_form_but_not_for_text(prompt: Path) -> None:
    for form, answer in (("boxed", "42"), ("text", "Alice@1:Hm")):
        events = run(Team(scripted({"Alice": ["Hm"]}), "Task", 1, prompt=prompt, answer=form))
        assert (events[-1].answer, events[-1].reason) == (answer, "done")
        assert bool(of_kind(events, "answer_token")) == (form == "boxed")


def test_a_snapshot_says_what_the_run_would_have_said(prompt: Path) -> None:
    for form in ("boxed", "text"):
        for workers in (1, 2):
            options: dict[str, Any] = {"workers": workers, "prompt": prompt, "answer": form, "answer_tokens": 12}
            events = run(Team(tiny_team_engine(), "Task", **options, snapshots=(4, 8), budget=8))
            for snapshot in of_kind(events, "snapshot"):
                short = run(Team(tiny_team_engine(), "Task", **options, budget=snapshot.budget))[-1]
                assert (snapshot.answer, snapshot.text) == (short.answer, short.text)
            assert snapshot.text == events[-1].text


def test_a_snapshot_where_the_answer_was_found_is_that_answer(prompt: Path) -> None:
    engine = scripted({"Alice": ["\\boxed{3}.\n\n"]}, answer="4}")
    events = run(Team(engine, "Task", 2, prompt=prompt, answer="boxed", snapshots=(5, 10, 20)))
    assert [(event.budget, event.answer) for event in of_kind(events, "snapshot")] == [(5, "4"), (10, "3")]
    assert (events[-1].answer, events[-1].passes) == ("3", 10)


def test_forms_are_greedy_and_text_is_sampled_as_the_team_is(prompt: Path) -> None:
    cold = [Worker(name, sampling=Sampling(temperature=0.0)) for name in ("Alice", "Bob")]

    def text(form: str, seed: int) -> str:
        team = Team(
            tiny_team_engine(), "Task", cold, prompt=prompt, budget=3, answer=form, seed=seed,
            sampling=Sampling(temperature=3.0), answer_tokens=12,
        )  # fmt: skip
        return str(run(team)[-1].text)

    assert text("boxed", 1) == text("boxed", 2)
    assert text("text", 1) != text("text", 2)
    assert text("text", 1) == text("text", 1)


@pytest.mark.parametrize(
    ("form", "text", "complete"),
    [
        ("boxed", "", False),
        ("boxed", r"\frac{1}", False),
        ("boxed", "1}", True),
        ("number", "\n 5", False),
        ("number", "\n5\n", True),
        ("code", "```", False),
        ("code", "x\n```", True),
        ("text", "All done.\n\n", False),
    ],
)
def test_when_a_form_is_complete(form: str, text: str, complete: bool) -> None:
    assert is_complete(form, text) is complete


# Several answers in one box.

EACH = r"[finish]{{ item or 0 }}of{{ items }}\boxed{"
SEVERAL = r"What are these? \boxed{a1, a2, a3}"


def test_each_of_several_answers_is_asked_for_alone_and_all_at_the_same_time(prompt: Path) -> None:
    prompt_folder(prompt, finish_boxed=EACH)
    engine = scripted(answer="1,234} more")
    events = run(Team(engine, SEVERAL, 2, prompt=prompt, budget=3, answer="boxed"))
    assert events[-1].answer == "1234, 1234, 1234"
    assert events[-1].text == r"[finish]0of3\boxed{1234, 1234, 1234}"
    assert "".join(event.text for event in of_kind(events, "answer_token")) == "1234, 1234, 1234}"
    last = [[decode(view) for view in views] for views in engine.seen if "[finish]" in decode(views[0])]
    assert all(len(views) == 3 for views in last)
    assert len(last) == len("1,234}")  # the question, and each token but the last
    for number, view in enumerate(last[-1], 1):
        assert view.count("[finish]") == 1
        assert f"[finish]{number}of3" in view


def test_an_answer_of_several_that_is_missing_keeps_its_place(prompt: Path) -> None:
    class Forgetful(ScriptedEngine):
        def _next(self, own: list[int]) -> int:
            self.answer = "" if "[finish]2of" in decode(own) else "7}"
            return super()._next(own)

    prompt_folder(prompt, finish_boxed=EACH)
    engine = scripted()
    engine.__class__ = Forgetful
    team = Team(engine, SEVERAL, 2, prompt=prompt, budget=3, answer="boxed")
    assert run(team)[-1].answer == "7, ?, 7"


@pytest.mark.parametrize(
    ("task", "workers", "parts", "items"),
    [
        (SEVERAL, 1, 0, 3),
        (SEVERAL, 2, 2, 3),
        ("Task", 1, 0, 1),
        ("Task", 2, 0, 1),
        ("Task", 2, 3, 1),
        (r"Which one? \boxed{...}", 2, 3, 1),
    ],
)
def test_how_many_answers_it_asks_for(prompt: Path, task: str, workers: int, parts: int, items: int) -> None:
    given = [f"part {number}" for number in range(parts)]
    team = Team(scripted(), task, workers, prompt=prompt, budget=3, answer="boxed", assign=given or "none")
    list(team.prepare())
    assert team.setup.items == items
    team.close()


@pytest.mark.parametrize("pages", [20, 23, 26])
def test_there_is_room_for_several_answers_in_the_fullest_pool(prompt: Path, pages: int) -> None:
    prompt_folder(prompt, finish_boxed=EACH)
    engine = scripted(answer="12345678}", pages=pages)
    events = run(Team(engine, SEVERAL, 2, prompt=prompt, budget=4000, answer="boxed", check_every=0))
    assert events[-1].reason == "cache"
    assert events[-1].answer == "12345678, 12345678, 12345678"
