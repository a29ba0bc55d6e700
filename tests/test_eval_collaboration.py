"""Made-up runs whose redundancy, shares and names can be counted by hand; and the command that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_story import story
from fakes import prompt_folder, scripted
from hogwild import Team
from hogwild.cli import main
from hogwild.eval.collaboration import Share, collaboration_table, measure, worker_table
from hogwild.eval.writing import read_writing
from hogwild.team import events as ev
from hogwild.team.events import Event
from hogwild.team.trace import TraceWriter

LONG = "the quick brown fox jumps over the lazy dog while seven wizards box with liquid jugs near Queen Charlotte Sound"
OTHER = "my own thoughts concern prime numbers between forty and ninety whose digits add up to eleven or thirteen today"


def run(
    turns: Sequence[tuple[str, str]], task: str = "Do it.", parts: dict[str, list[str]] | None = None
) -> list[Event]:
    """Who writes what, one after another, a word a pass. ``!`` before a text begins a step, ``?`` one with a check."""
    told: list[Event] = [
        ev.Started(
            pass_=0,
            time=0,
            task=task,
            model="tiny",
            workers=["Alice", "Bob"],
            layout="combined",
            budget=9,
            seeds=[0, 0],
        )
    ]
    if parts:
        told.append(ev.Planned(pass_=0, time=0, parts=parts))
    done, steps = 0, dict[str, int]()
    for worker, text in turns:
        if text[0] in "!?" or worker not in steps:
            steps[worker] = steps.get(worker, 0) + 1
            told.append(ev.StepStarted(pass_=done, time=done, worker=worker, step=steps[worker], text=f"{worker}: "))
            if text[0] == "?":
                told.append(ev.CheckAsked(pass_=done, time=done, worker=worker, step=steps[worker]))
        for word in text.lstrip("!?").split(" "):
            done += 1
            told.append(ev.Token(pass_=done, time=done, worker=worker, step=steps[worker], token=1, text=f"{word} "))
    return told


def shares(told: Sequence[Event], parts: int = 0) -> dict[str, Share]:
    return {share.worker: share for share in measure(told, parts=parts).shares}


def test_a_copy_is_repeated_by_who_comes_second() -> None:
    found = shares(run([("Alice", LONG), ("Bob", LONG)]))
    assert (found["Alice"].repeated, found["Bob"].repeated) == (0, 1)
    assert found["Alice"].explained == 0
    assert found["Bob"].explained is not None
    assert found["Bob"].explained > 0.9
    assert found["Bob"].tokens == len(LONG.split())


def test_different_texts_repeat_nothing() -> None:
    found = shares(run([("Alice", LONG), ("Bob", OTHER)]))
    assert found["Bob"].repeated == 0
    assert found["Bob"].explained is not None
    assert found["Bob"].explained < 0.2


def test_half_a_copy_is_half_repeated() -> None:
    words = LONG.split()
    half = " ".join(words[:10])
    found = shares(run([("Alice", half), ("Bob", LONG)]))
    assert found["Bob"].repeated == (10 - 3) / (len(words) - 3)


def test_case_and_signs_do_not_hide_a_copy() -> None:
    assert shares(run([("Alice", LONG), ("Bob", LONG.upper().replace(" ", ", "))]))["Bob"].repeated == 1


def test_what_the_task_says_is_nobodys() -> None:
    found = shares(run([("Alice", LONG), ("Bob", LONG)], task=f"Say: {LONG}"))
    assert found["Bob"].repeated is None  # all of it stands in the task
    assert found["Bob"].explained is not None
    assert found["Bob"].explained < 0.2


def test_one_does_not_repeat_what_comes_after_it_nor_itself() -> None:
    found = shares(run([("Alice", LONG), ("Alice", f"!{LONG}"), ("Bob", OTHER)]))
    assert found["Alice"].repeated == 0
    assert found["Alice"].explained == 0


def test_in_lockstep_the_later_worker_repeats() -> None:
    told = run([])
    for done, word in enumerate(LONG.split(), 1):
        for worker in ("Alice", "Bob"):
            told.append(ev.Token(pass_=done, time=0, worker=worker, step=1, token=1, text=f" {word}"))
    found = shares(told)
    assert (found["Alice"].repeated, found["Bob"].repeated) == (0, 1)


def test_prefixes_are_nobodys_words() -> None:
    told = run([("Alice", OTHER), ("Bob", LONG)])
    told = [
        event.model_copy(update={"text": f"{LONG}, Bob. 1. four"}) if isinstance(event, ev.StepStarted) else event
        for event in told
    ]
    found = measure(told, parts=1)
    assert [share.repeated for share in found.shares] == [0, 0]
    assert found.undone == (1,)
    assert not found.shares[0].names


@pytest.mark.parametrize(
    "line",
    [
        "2. 17",
        "2) 17",
        "Part 2: 17",
        "part 2. 17",
        "**2.** 17",
        "- **Part 2**: 17",
        "### 2. 17",
        "Question 2: 17",
        "> 2: x",
    ],
)
def test_lines_that_answer_a_part(line: str) -> None:
    assert shares(run([("Alice", f"So\n{line}\nEnd")]), parts=2)["Alice"].parts == (2,)


@pytest.mark.parametrize("line", ["2.5 litres", "2:45 pm", "2.", "in part 2. 17", "3. 17", "0. 17", "2 17", "12. 17"])
def test_lines_that_answer_none(line: str) -> None:
    assert shares(run([("Alice", f"So\n{line}\n")]), parts=2)["Alice"].parts == ()


def test_parts_are_counted_by_who_was_first() -> None:
    told = run(
        [("Alice", "1. four\n3. six\n"), ("Bob", "2. five\n3. seven\n"), ("Alice", "!3. again\n")],
        parts={"Alice": ["a", "b"], "Bob": ["c", "d"]},
    )
    found = measure(told)
    assert [share.parts for share in found.shares] == [(1, 3), (2,)]
    assert (found.parts, found.twice, found.undone) == (4, (3,), (4,))


@pytest.mark.parametrize("prefix", ["2.", "Problem 2:"])
def test_a_part_that_was_handed_out_is_its_step(prefix: str) -> None:
    told: list[Event] = [
        ev.StepStarted(pass_=0, time=0, worker="Alice", step=1, text=prefix),
        ev.Token(pass_=1, time=1, worker="Alice", step=1, token=1, text=" 7\n1. of 3"),
    ]
    assert measure(told, parts=3).shares[0].parts == (2,)


def test_without_parts_no_line_answers_one() -> None:
    found = measure(run([("Alice", "1. four\n")]))
    assert (found.parts, found.shares[0].parts, found.undone) == (0, (), ())


def test_names_are_whole_words_and_never_ones_own() -> None:
    found = shares(run([("Alice", "Bob, I am Alice. Bobby is not Bob."), ("Bob", "me too")]))
    assert found["Alice"].names == {"Bob": 2}
    assert found["Bob"].names == {}


def test_checks_and_what_they_led_to() -> None:
    told = run(
        [
            ("Alice", "!count every prime number slowly"),
            ("Alice", "!count every prime number again"),
            ("Alice", "?Yes, rather draw some triangles"),
            ("Alice", "?no"),
            ("Alice", "?perhaps"),
        ]
    )
    found = shares(told)["Alice"]
    assert (found.checks, found.yes, found.no) == (3, 1, 1)
    assert found.fresh_otherwise == 1 / 5  # again
    assert found.fresh == 1  # rather, draw, some, triangles; perhaps


def test_several_teams_can_be_seen_as_one() -> None:
    first, second = run([("Alice", LONG)]), run([("Alice", LONG), ("Bob", OTHER)])
    found = {share.worker: share for share in measure(first, second).shares}
    assert list(found) == ["Alice of 1", "Alice of 2", "Bob"]
    assert (found["Alice of 1"].repeated, found["Alice of 2"].repeated) == (0, 1)


def test_a_run_in_which_nobody_wrote() -> None:
    found = measure(run([]))
    assert found.shares == ()
    assert collaboration_table({"none": [found]}).rows[0][:2] == ("none", "1")


@given(st.lists(st.tuples(st.sampled_from(["Alice", "Bob"]), st.text(min_size=1, max_size=60)), max_size=12))
def test_all_shares_are_shares(turns: list[tuple[str, str]]) -> None:
    for share in measure(run(turns), parts=3).shares:
        for value in (share.repeated, share.explained, share.fresh, share.fresh_otherwise):
            assert value is None or 0 <= value <= 1


def test_words_know_when_they_were_complete() -> None:
    (step,) = read_writing([run([("Alice", "one two")])]).steps
    assert step.words() == [("one", 2), ("two", 3)]
    assert (step.prefix, step.text) == ("Alice: ", "one two ")


def test_a_real_team_is_measured(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["1. four.\n\n", "Bob, well done.\n\n"], "Bob": ["2. five.\n\n"]})
    team = Team(engine, "Do it.", 2, budget=60, prompt=str(prompt_folder(tmp_path)))
    found = measure(list(team.run()), parts=2)
    shares_ = {share.worker: share for share in found.shares}
    assert (shares_["Alice"].parts, shares_["Bob"].parts) == ((1,), (2,))
    assert shares_["Alice"].names == {"Bob": 1}
    assert found.undone == found.twice == ()


def test_tables() -> None:
    found = measure(run([("Alice", f"1. {LONG}"), ("Bob", f"?Yes Alice: {LONG}")]), parts=2)
    table = worker_table("run", found)
    assert table.title == "run (of 2 parts done twice: none; by nobody: 2)"
    assert {len(row) for row in table.rows} == {len(table.columns)}
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert (row["names"], row["checks"], row["yes"], row["parts"]) == ("Alice 1", "1", "1", "")
    summary = collaboration_table({"hogwild-2": [found, found]})
    line = dict(zip(summary.columns, summary.rows[0], strict=True))
    assert (line["runs"], line["by nobody"], line["yes"], line["parts of the busiest"]) == ("2", "50%", "2", "100%")
    assert json.loads(json.dumps(found.as_dict()))["shares"][0]["parts"] == [1]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.jsonl"
    with TraceWriter(path) as trace:
        for event in story(workers=3):
            trace.write(event)
    assert main(["eval", "collaboration", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["trace"] == str(path)
    assert [share["worker"] for share in found["shares"]] == ["Alice", "Bob", "Carol"]
    assert all(share["tokens"] == 36 for share in found["shares"])
    assert main(["eval", "collaboration", str(path), str(path), "--together", "--parts", "2"]) == 0
    assert "Alice of 2" in capsys.readouterr().out


def test_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "collaboration", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["eval", "collaboration", "x", "--parts", "-1"]) == 2
    assert "--parts" in capsys.readouterr().err
