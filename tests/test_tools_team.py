"""A worker that waits for a tool, while the others write on."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fakes import ScriptedEngine, decode, kinds, make_tokenizer, of_kind, run, scripted, tiny_team_engine, tokens_of
from hogwild import Sampling, Team, Worker
from hogwild.errors import HogwildError, OptionError
from hogwild.team.ask import Ask, Wait, done, drive
from hogwild.team.tools import Tool
from templates import HERMES

CALL = '<tool_call>\n{"arguments": {"a": 3}, "name": "add"}'
GREEDY = Sampling(temperature=0.0)


def behind(result: str) -> str:
    return (
        f"\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n{result}\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def engine_with(steps: dict[str, list[str]], **options: Any) -> ScriptedEngine:
    return scripted(steps, tokenizer=make_tokenizer(template=HERMES), **options)


def adds(result: Any = "7", **fields: Any) -> Tool:
    return Tool("add", "Adds four.", call=lambda a: result, **fields)


ALICE = ["Let me see. " + CALL + behind("7") + "It is 7.\n\n"]


def test_one_waits_and_the_other_goes_on(prompt: Path) -> None:
    """Bob's tenth token lets the tool return."""
    gate, asked = threading.Event(), list[int]()
    engine = engine_with({"Alice": ALICE, "Bob": ["b" * 100 + ".\n\n"]})

    def add(a: int) -> str:
        asked.append(a)
        assert gate.wait(60)
        return "7"

    team = Team(engine, "Task", 2, prompt=prompt, budget=140, sampling=GREEDY, tools=[Tool("add", call=add)])
    events, alone = list[Any](), 0
    for event in team.run():
        events.append(event)
        if "tool_called" in kinds(events) and "tool_returned" not in kinds(events):
            alone += event.kind == "token"
            assert event.kind != "token" or event.worker == "Bob"
            if alone == 10:
                gate.set()
    assert asked == [3]
    assert alone >= 10
    called, returned = of_kind(events, "tool_called")[0], of_kind(events, "tool_returned")[0]
    assert (called.worker, called.step, called.name, called.arguments) == ("Alice", 1, "add", '{"a": 3}')
    assert (returned.worker, returned.step, returned.call, returned.result) == ("Alice", 1, called.call, "7")
    steps = {event.worker: event.text for event in of_kind(events, "step_finished")}
    assert steps == {"Alice": "Alice@1:" + ALICE[0].strip(), "Bob": "Bob@1:" + "b" * 100 + "."}
    assert {len(rows) for rows in engine.seen} >= {1, 2}
    assert engine.pool.used_pages == 0


def test_a_call_is_in_no_token_that_is_told(prompt: Path) -> None:
    engine = engine_with({"Alice": ALICE})
    events = run(Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[adds()]))
    assert "".join(event.text for event in of_kind(events, "token")) == "Let me see. It is 7.\n\n"
    assert decode(tokens_of(events, "Alice")) == "Let me see. " + CALL + "It is 7.\n\n"
    assert events[-1].text == events[-1].answer == "It is 7."


def test_where_all_wait_no_pass_is_done(prompt: Path) -> None:
    engine = engine_with({"Alice": ALICE})
    team = Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add")])
    play, answer, waits = team.play(), None, 0
    events = list[Any]()
    try:
        while True:
            happened = play.send(answer)
            answer = None
            if isinstance(happened, Wait):
                assert team.waiting
                assert not happened.over
                waits += 1
                if waits == 3:
                    team.answer_tool(of_kind(events, "tool_called")[0].call, "7")
                    assert happened.over
            elif isinstance(happened, Ask):
                assert happened.rows
                answer = done(engine, happened)
            else:
                events.append(happened)
    except StopIteration:
        pass
    assert waits == 3
    assert events[-1].text == "It is 7."


def test_who_reads_the_events_may_answer(prompt: Path) -> None:
    team = Team(engine_with({"Alice": ALICE}), "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add")])
    for event in team.run():
        if event.kind == "tool_called":
            with pytest.raises(OptionError, match="no tool call has the id 'x'"):
                team.answer_tool("x", "7")
            with pytest.raises(OptionError, match="result is 7"):
                team.answer_tool(event.call, 7)  # type: ignore[arg-type]
            with pytest.raises(OptionError, match="result is .* tokens long"):
                team.answer_tool(event.call, "7" * 1000)
            team.answer_tool(event.call, "7")
            with pytest.raises(OptionError, match="has its result already"):
                team.answer_tool(event.call, "8")
    assert event.text == "It is 7."  # type: ignore[union-attr]


def test_a_step_at_a_time(prompt: Path) -> None:
    team = Team(engine_with({"Alice": ALICE}), "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add")])
    call, seen = "", list[str]()
    while not team.reason:
        for event in team.step():
            seen.append(event.kind)
            call = event.call if event.kind == "tool_called" else call
        if team.waiting:
            assert team.step() == []
            team.answer_tool(call, "7")
    assert {"tool_called", "tool_returned"} <= set(seen)
    team.close()


def boom(a: int) -> str:
    raise ValueError(f"no {a}s today")


@pytest.mark.parametrize(
    ("tool", "call", "result"),
    [
        (Tool("add", call=boom), CALL, "error: ValueError: no 3s today"),
        (Tool("add", call=lambda: "x"), CALL, "error: TypeError: "),
        (adds({"sum": 7, "é": None}), CALL, '{"sum": 7, "é": null}'),
        (adds("x" * 3000), CALL, "error: result is 3000 tokens long"),
        (adds(), CALL.replace("add", "sub"), "error: there is no tool 'sub', only add"),
        (adds(), CALL.replace('{"a": 3}', "[3]"), "error: the arguments are no JSON object"),
        (adds(), "<tool_call>\nadd(3)\n</tool_call>", "error: this is no call"),
    ],
)
def test_what_goes_wrong_is_the_result(prompt: Path, tool: Tool, call: str, result: str) -> None:
    engine = engine_with({"Alice": [call]})
    events = run(Team(engine, "Task", 2, prompt=prompt, budget=len(call) + 20, sampling=GREEDY, tools=[tool]))
    returned = of_kind(events, "tool_returned")
    assert len(returned) == 1
    assert returned[0].result.startswith(result)
    assert engine.pool.used_pages == 0


def test_what_takes_too_long_is_given_up_and_comes_to_nothing_later(prompt: Path) -> None:
    gate = threading.Event()
    late = Tool("add", call=lambda a: gate.wait(60) and "7")
    engine = engine_with({"Alice": [CALL]})
    began = time.monotonic()
    team = Team(engine, "Task", 1, prompt=prompt, budget=80, sampling=GREEDY, tools=[late], tool_seconds=0.05)
    for event in team.run():
        if event.kind == "tool_returned":
            assert event.result == "error: no result after 0.05 seconds"
            assert time.monotonic() - began >= 0.05
            gate.set()
    assert event.reason == "done"  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["stop", "leave", "close"])
def test_who_waits_can_be_stopped(prompt: Path, how: str) -> None:
    engine = engine_with({"Alice": [CALL]})
    team = Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[Tool("add")])
    running = team.run()
    for event in running:
        if event.kind == "tool_called":
            if how == "close":
                break
            team.stop() if how == "stop" else team.leave("Alice")
    running.close()  # type: ignore[attr-defined]
    assert how == "close" or (event.kind, event.reason) == ("finished", "stopped" if how == "stop" else "done")  # type: ignore[union-attr]
    assert engine.pool.used_pages == 0


def test_a_run_that_is_done_again_calls_nothing_again(prompt: Path) -> None:
    asked = list[int]()

    def add(a: int) -> str:
        asked.append(a)
        return "7"

    tool = Tool("add", call=add)
    engine = engine_with({"Alice": ALICE, "Bob": ["b" * 90 + ".\n\n"]})
    team = Team(engine, "Task", 2, prompt=prompt, budget=130, sampling=GREEDY, tools=[tool])
    first = list(team.run())
    again = list(drive(engine, team.again().play()))
    assert asked == [3]
    for kind in ("tool_called", "tool_returned"):
        assert [one.model_copy(update={"time": 0}) for one in of_kind(first, kind)] == [
            one.model_copy(update={"time": 0}) for one in of_kind(again, kind)
        ]
    for name in ("Alice", "Bob"):
        assert tokens_of(again, name) == tokens_of(first, name)


def test_json_that_is_no_call_is_shown(prompt: Path) -> None:
    text = '{"arguments": 1, "name": "Ada"}'
    events = run(Team(engine_with({"Alice": [text]}), "Task", 1, prompt=prompt, sampling=GREEDY, tools=[adds()]))
    assert "".join(event.text for event in of_kind(events, "token")) == text


@pytest.mark.parametrize("text", ["Is 3 <", "Is 3 <tool_call>{", '{"arguments": {"', "1 <\n\n2"])
def test_what_never_becomes_a_call_is_shown_at_the_end(prompt: Path, text: str) -> None:
    engine = engine_with({"Alice": [text]})
    events = run(Team(engine, "Task", 1, prompt=prompt, sampling=GREEDY, tools=[adds()]))
    assert "".join(event.text for event in of_kind(events, "token")) == text
    assert events[-1].reason == "done"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_whatever_is_asked_meanwhile_all_pages_come_back(prompt: Path, layout: str, seed: int) -> None:
    draw = random.Random(seed)
    call = CALL.replace("\n", "")
    names = ("Alice", "Bob", "Carol", "Dave")
    steps = {name: [f"{name} thinks.\n\n", call, call][seed % 2 :] for name in names}
    engine = engine_with(steps, pages=draw.choice([40, 120]))

    def add(a: int) -> str:
        time.sleep(draw.random() / 200)
        return "7" * draw.randrange(300)

    tool = Tool("add", call=add)
    team = Team(
        engine, "Task", draw.choice([1, 2, 3]), prompt=prompt, layout=layout, budget=draw.randrange(40, 200),
        sampling=GREEDY, tools=[tool], drafts=draw.choice([0, 4]), on_full=draw.choice(["stop", "drop"]),
        tool_seconds=draw.choice([0.001, 60]), check_every=draw.choice([0, 40]),
    )  # fmt: skip
    events = list[Any]()
    for event in team.run():
        events.append(event)
        try:
            match draw.randrange(60):
                case 0:
                    team.say("Hello.")
                case 1:
                    team.join(Worker("Dave", prompt=draw.choice([None, "You doubt."])))
                case 2:
                    team.leave("Alice")
                case 3 if draw.random() < 0.2:
                    team.stop()
        except HogwildError:
            pass
    assert events[-1].kind == "finished"
    assert engine.pool.used_pages == 0
    calls = {event.call: event.worker for event in of_kind(events, "tool_called")}
    for event in of_kind(events, "tool_returned"):
        assert calls.pop(event.call) == event.worker


def test_the_prompt_of_one_worker_is_what_the_template_makes_of_tools() -> None:
    tokenizer = make_tokenizer(template=HERMES)
    team = Team(tiny_team_engine(tokenizer=tokenizer), "Add.", 1, tools=[adds()])
    list(team.prepare())
    assert team.space is not None
    tokens = [*team.space.prompt.tokens, *team.space.members[0].pending]
    user = [{"role": "user", "content": "Add."}]
    text = tokenizer.apply_chat_template(user, tools=[adds().definition()], add_generation_prompt=True, tokenize=False)
    assert decode(tokens) == text
    team.close()


def test_a_trace_names_the_tools(prompt: Path) -> None:
    team = Team(engine_with({}), "Task", 2, prompt=prompt, budget=2, tools=[adds()])
    assert run(team)[0].settings["tools"] == [adds().definition()]
    assert run(Team(engine_with({}), "Task", 2, prompt=prompt, budget=2))[0].settings["tools"] == []


def test_who_has_no_tools_has_no_calls(prompt: Path) -> None:
    team = Team(engine_with({"Alice": [CALL]}), "Task", 2, prompt=prompt, budget=60, sampling=GREEDY)
    with pytest.raises(OptionError, match="no tool call has the id 'x'"):
        team.answer_tool("x", "7")
    assert "tool_called" not in kinds(run(team))
