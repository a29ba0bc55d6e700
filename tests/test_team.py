"""Teams by the protocol: what each worker sees in each pass, how steps end, and that a run ends well and frees all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import (
    LAYOUTS,
    ScriptedEngine,
    decode,
    encode,
    kinds,
    of_kind,
    run,
    scripted,
    tiny_team_engine,
    tokens_of,
)
from hogwild import Team, Worker
from hogwild.errors import HogwildError, OptionError, WindowError
from hogwild.team.events import EVENT
from simulation import simulate

SCRIPTS = {
    "Alice": ["One is done.\n\n", "Two?\n\n", "Three!\n\n"],
    "Bob": ["A longer first step of mine.\n\n", "Short.\n\n"],
    "Carol": ["One is mine.\n\n", "T?\n\n", "Three, four,\n\nfive.\n\n"],
    "Dave": ["I have a list:\n\n- a\n\n- b.\n\n"],
}


def steps_until(team: Team, passes: int) -> list[Any]:
    return [event for _ in range(passes) for event in team.step()]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_view_of_every_pass_is_what_the_protocol_says(prompt: Path, layout: str, workers: int) -> None:
    scripts = dict(list(SCRIPTS.items())[:workers])
    engine = scripted(scripts)
    team = Team(engine, "Task", workers, layout=layout, prompt=prompt)
    list(team.prepare())
    engine.seen.clear()
    steps_until(team, 45)
    expected = simulate(layout, scripts, 45)
    assert len(engine.seen) == 45 or workers == 1  # one alone may end its turn, and does after its script
    for number, (ours, theirs) in enumerate(zip(engine.seen, expected, strict=False)):
        assert list(map(decode, ours)) == list(map(decode, theirs)), f"pass {number + 1}"
        assert ours == theirs
    team.close()
    assert engine.pool.used_pages == 0


def test_a_step_ends_only_after_a_sentence(prompt: Path) -> None:
    engine = scripted({"Alice": ["A list:\n\n- one,\n\n- two.\n\n", "Next.\n\n"]})
    team = Team(engine, "Task", 2, prompt=prompt, budget=60)
    finished = [event.text for event in of_kind(run(team), "step_finished")]
    assert finished == ["Alice@1:A list:\n\n- one,\n\n- two.", "Alice@2:Next."]


def test_the_lower_worker_comes_first_when_two_finish_in_one_pass(prompt: Path) -> None:
    engine = scripted({"Alice": ["Later: a.\n\n"], "Bob": ["b.\n\n"], "Carol": ["c.\n\n"]})
    team = Team(engine, "Task", 3, prompt=prompt, budget=20)
    done = of_kind(run(team), "step_finished")
    assert [(event.worker, event.pass_) for event in done] == [("Bob", 2), ("Carol", 2), ("Alice", 9)]


@pytest.mark.parametrize("layout", ["interleaved", "combined"])
def test_history_is_in_order_of_completion(prompt: Path, layout: str) -> None:
    engine = scripted({"Alice": ["Long, long.\n\n", "a.\n\n"], "Bob": ["b.\n\n", "bb.\n\n"]})
    team = Team(engine, "Task", 2, layout=layout, prompt=prompt)
    steps_until(team, 14)
    assert team.space is not None
    history = decode(team.space.history.tokens)
    assert history == "\n\nBob@1:b.\n\nBob@2:bb\n\nAlice@1:Long, long.\n\nAlice@2:a"
    assert [decode(step.block.tokens[step.begin : step.end]).strip(".\n") for step in team.space.steps] == [
        "Bob@1:b", "Bob@2:bb", "Alice@1:Long, long", "Alice@2:a",
    ]  # fmt: skip
    team.close()


def test_the_break_is_the_first_token_of_the_next_step_and_then_comes_the_name(prompt: Path) -> None:
    engine = scripted({"Alice": ["Hello?\n\n"]})
    team = Team(engine, "Task", 2, prompt=prompt)
    steps_until(team, 8)
    assert team.space is not None
    assert team.space.members[0].block.tokens == (*encode("\n\n"), *encode("Alice@2:"))
    assert decode(team.space.history.tokens) == "\n\nAlice@1:Hello?"
    team.close()


def test_nobody_waits(prompt: Path) -> None:
    engine = scripted(SCRIPTS)
    events = run(Team(engine, "Task", 4, prompt=prompt, budget=30))
    for name in SCRIPTS:
        assert [event.pass_ for event in of_kind(events, "token") if event.worker == name] == list(range(1, 31))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_begins_and_ends_as_it_should_and_every_event_survives_its_trace(prompt: Path, layout: str) -> None:
    engine = scripted(SCRIPTS, answer="7}")
    team = Team(engine, "Task", 3, layout=layout, prompt=prompt, answer="boxed", budget=25, snapshots=(10, 20))
    events = run(team)
    assert kinds(events)[:2] == ["started", "prefilled"]
    assert kinds(events)[-4:] == ["budget_reached", "answer_token", "answer_token", "finished"]
    assert [EVENT.validate_json(event.model_dump_json(by_alias=True)) for event in events] == events
    assert [event.pass_ for event in events] == sorted(event.pass_ for event in events)
    assert [event.time for event in events] == sorted(event.time for event in events)
    last = events[-1]
    assert (last.answer, last.reason, last.passes) == ("7", "budget", 25)
    assert last.tokens == {"Alice": 25, "Bob": 25, "Carol": 25}
    assert last.prompt_tokens == events[1].total
    assert last.prefill_seconds >= 0
    assert 0 <= last.decode_seconds <= last.time
    assert engine.pool.used_pages == 0


def test_the_text_of_the_tokens_is_the_text_of_the_steps(prompt: Path) -> None:
    engine = scripted({"Alice": ["Ça va, 李 🤖.\n\n", "b.\n\n"]})
    events = run(Team(engine, "Task", 2, prompt=prompt, budget=40))
    pieces = [e.text for e in of_kind(events, "token") if (e.worker, e.step) == ("Alice", 1)]
    assert "".join(pieces) == "Ça va, 李 🤖.\n\n"
    assert of_kind(events, "step_finished")[0].text == "Alice@1:Ça va, 李 🤖."
    assert decode(tokens_of(events, "Alice")).startswith("Ça va, 李 🤖.\n\nb.\n\n")


def test_an_answer_in_a_finished_step_ends_the_run(prompt: Path) -> None:
    engine = scripted({"Alice": ["Hm.\n\n"], "Bob": [r"So \boxed{\frac{1}{2}}.".rstrip() + "\n\n", "No.\n\n"]})
    events = run(Team(engine, "Task", 2, prompt=prompt, answer="boxed", budget=100))
    (found,) = of_kind(events, "answer_found")
    assert (found.worker, found.step, found.answer) == ("Bob", 1, r"\frac{1}{2}")
    last = events[-1]
    assert (last.answer, last.reason, last.text) == (r"\frac{1}{2}", "answer", r"So \boxed{\frac{1}{2}}.")
    assert last.passes == found.pass_ < 100
    assert "budget_reached" not in kinds(events)
    assert "answer_token" not in kinds(events)


def test_of_two_answers_in_one_pass_the_lower_workers_counts(prompt: Path) -> None:
    engine = scripted({"Alice": ["\\boxed{1}.\n\n"], "Bob": ["\\boxed{2}.\n\n"]})
    events = run(Team(engine, "Task", 2, prompt=prompt, answer="boxed"))
    assert [event.worker for event in of_kind(events, "answer_found")] == ["Alice"]
    assert events[-1].answer == "1"


def test_a_box_in_the_task_is_no_answer(prompt: Path) -> None:
    engine = scripted({"Alice": ["The task says \\boxed{5}.\n\n"]}, answer="6}")
    events = run(Team(engine, "Is it \\boxed{5}?", 2, prompt=prompt, answer="boxed", budget=40))
    assert "answer_found" not in kinds(events)
    assert events[-1].answer == "6"


# Redundancy checks.


def test_every_so_many_tokens_the_next_new_step_is_asked(prompt: Path) -> None:
    engine = scripted({"Alice": ["123456.\n\n"] * 9, "Bob": ["1.\n\n"] * 20})
    events = run(Team(engine, "Task", 2, prompt=prompt, check_every=10, budget=24))
    written, due, asked = 0, 0, []
    for event in events:
        if event.kind == "token":
            written += 1
        if event.kind == "step_started" and event.step > 1:
            if written - due >= 10:
                due = written
                asked.append((event.worker, event.step))
                assert event.text.endswith("[check]")
            else:
                assert "[check]" not in event.text
    assert len(asked) >= 3
    assert [(event.worker, event.step) for event in of_kind(events, "check_asked")] == asked


@pytest.mark.parametrize(("workers", "check_every"), [(2, 0), (1, 5)])
def test_nobody_is_asked_who_must_not_be(prompt: Path, workers: int, check_every: int) -> None:
    engine = scripted({"Alice": ["1.\n\n"] * 20})
    events = run(Team(engine, "Task", workers, prompt=prompt, check_every=check_every, budget=40))
    assert len(of_kind(events, "step_finished")) > 5
    assert not of_kind(events, "check_asked")


# How runs end.


def test_step_without_run_is_the_same(prompt: Path) -> None:
    one, two = scripted(SCRIPTS), scripted(SCRIPTS)
    team = Team(one, "Task", 2, prompt=prompt, budget=20)
    events: list[Any] = []
    while not team.reason:
        events += team.step()
    assert team.passes == 20
    assert team.step() == []
    whole = run(Team(two, "Task", 2, prompt=prompt, budget=20))
    for name in ("Alice", "Bob"):
        assert tokens_of(events, name) == tokens_of(whole, name)
    team.close()
    team.close()
    assert one.pool.used_pages == 0


def test_a_team_runs_once(prompt: Path) -> None:
    team = Team(scripted(), "Task", 2, prompt=prompt, budget=3)
    run(team)
    with pytest.raises(HogwildError, match="runs once"):
        next(team.run())


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_closing_the_run_at_any_event_frees_all(prompt: Path, at: int) -> None:
    engine = scripted(SCRIPTS, answer="1}")
    run = Team(engine, "Task", 2, prompt=prompt, answer="boxed", budget=20, snapshots=(5,)).run()
    for _, _ in zip(range(at + 1), run, strict=False):
        pass
    run.close()  # type: ignore[attr-defined]
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_in_any_forward_frees_all(prompt: Path, layout: str, error: type[BaseException]) -> None:
    for at in (1, 2, 5, 12, 24):  # the prompt, passes, the finisher
        engine = scripted(SCRIPTS)
        engine.hook = raise_at(at, error)
        with pytest.raises(error):
            run(Team(engine, "Task", 3, layout=layout, prompt=prompt, budget=20))
        assert engine.pool.used_pages == 0


def raise_at(count: int, error: type[BaseException]) -> Callable[[], None]:
    left = [count]

    def hook() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    return hook


def test_an_interrupt_inside_the_model_changes_nothing(prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_team_engine()
    team = Team(engine, "Task", 2, prompt=prompt, budget=9)
    steps_until(team, 3)
    assert team.space is not None
    before = [member.block.tokens for member in team.space.members]
    forward = type(engine.model.model.layers[1]).forward

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(engine.model.model.layers[1]), "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            team.step()
    assert forward is type(engine.model.model.layers[1]).forward
    assert [member.block.tokens for member in team.space.members] == before
    assert team.passes == 3
    rest = [event for event in steps_until(team, 6) if event.kind == "token"]
    whole = [event for event in Team(engine, "Task", 2, prompt=prompt, budget=9).run() if event.kind == "token"]
    assert [event.token for event in rest] == [event.token for event in whole[6:]]
    team.close()
    assert engine.pool.used_pages == 0


def test_stop_ends_after_the_current_pass_with_the_finisher(prompt: Path) -> None:
    engine = scripted(SCRIPTS, answer="8}")
    team = Team(engine, "Task", 2, prompt=prompt, answer="boxed")
    events: list[Any] = []
    for event in team.run():
        events.append(event)
        if event.kind == "token" and event.pass_ == 7:
            team.stop()  # as a signal handler does, amid the pass's events
    assert [event.reason for event in of_kind(events, "budget_reached")] == ["stopped"]
    assert (events[-1].answer, events[-1].passes, events[-1].reason) == ("8", 7, "stopped")
    assert engine.pool.used_pages == 0


def test_a_signal_amid_a_forward_lets_the_pass_end(prompt: Path) -> None:
    engine = scripted(SCRIPTS, answer="8}")
    team = Team(engine, "Task", 2, prompt=prompt, answer="boxed")
    passes = [0]

    def hook() -> None:
        passes[0] += 1
        if passes[0] == 6:  # the first was the prompt
            team.stop()

    engine.hook = hook
    last = run(team)[-1]
    assert (last.kind, last.passes, last.reason, last.tokens) == ("finished", 5, "stopped", {"Alice": 5, "Bob": 5})


def test_stop_before_the_run_asks_the_finisher_at_once(prompt: Path) -> None:
    team = Team(scripted(answer="1}"), "Task", 2, prompt=prompt, answer="boxed")
    team.stop()
    events = run(team)
    assert (events[-1].passes, events[-1].answer, events[-1].reason) == (0, "1", "stopped")


def test_a_task_longer_than_the_window(prompt: Path) -> None:
    engine = tiny_team_engine(positions=512)
    with pytest.raises(WindowError, match=r"are \d+ tokens long, but only \d+ of the model's 512 positions"):
        run(Team(engine, "word " * 200, 2, prompt=prompt))
    assert engine.pool.used_pages == 0


def test_a_role_longer_than_the_window(prompt: Path) -> None:
    engine = tiny_team_engine(positions=512)
    with pytest.raises(WindowError):
        run(Team(engine, "Task", [Worker("A"), Worker("B", prompt="word " * 60)], prompt=prompt))
    assert engine.pool.used_pages == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": 17}, "workers is 17"),
        ({"workers": True}, "workers is True"),
        ({"workers": "two"}, "workers is 'two'"),
        ({"workers": ["Alice"]}, "workers is"),
        ({"workers": []}, "workers are 0"),
        ({"workers": [Worker("A")] * 2}, "names has the same name twice"),
        ({"workers": [Worker("A")], "names": ["B"]}, "names is given"),
        ({"workers": 3, "names": ["A", "B"]}, "names is"),
        ({"workers": 2, "names": "AB"}, "names is 'AB'"),
        ({"workers": 2, "names": ["A", "A"]}, "names has the same name twice"),
        ({"workers": 2, "names": ["A", 3]}, "name is 3"),
        ({"layout": "diagonal"}, "layout is 'diagonal'"),
        ({"layout": 3}, "layout is 3"),
        ({"assign": "all"}, "assign is 'all'"),
        ({"assign": None}, "assign is None"),
        ({"budget": 0}, "budget is 0"),
        ({"budget": 2.5}, "budget is 2.5"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"sampling": {"temperature": 1}}, "sampling is"),
        ({"prompt": 3}, "prompt is 3"),
        ({"prompt": "nowhere"}, "prompt is 'nowhere'"),
        ({"answer": "poem"}, "answer is 'poem'"),
        ({"answer": ["text"]}, "answer is"),
        ({"answer_tokens": 0}, "answer_tokens is 0"),
        ({"on_full": "explode"}, "on_full is 'explode'"),
        ({"snapshots": 5}, "snapshots is 5"),
        ({"snapshots": (0,)}, "snapshots is 0"),
        ({"check_every": -1}, "check_every is -1"),
        ({"colour": "red"}, "colour is no option"),
        ({"task": " \n\t "}, "task is"),
        ({"task": None}, "task is None"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_field(options: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError) as caught:
        Team(ENGINE, **{"task": "Task", **options})
    assert str(caught.value).startswith(named)
    assert "\n" not in str(caught.value)


ENGINE: ScriptedEngine = scripted()


@pytest.mark.parametrize("name", ["", " ", " A", "A\n", "a\nb", "a\u2028b", "x" * 41, "\ud800", None, 5])
def test_names_that_cannot_be(name: Any) -> None:
    with pytest.raises(OptionError, match="name is"):
        Worker(name)


@pytest.mark.parametrize("field", [{"prompt": 3}, {"opening": 3}, {"sampling": "greedy"}])
def test_a_worker_of_wrong_types(field: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(field))} of A is"):
        Worker("A", **field)


def test_odd_names_work(prompt: Path) -> None:
    names = ["Zoë 🤖", "李", "{{ 1/0 }}", "O'Neil & Söhne"]
    engine = scripted()
    last = run(Team(engine, "Task", 4, names=names, prompt=prompt, budget=3))[-1]
    assert last.tokens == dict.fromkeys(names, 3)
