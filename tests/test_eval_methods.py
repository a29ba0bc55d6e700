"""Methods: what each would have answered at every budget, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from driving import play_alone, run_together
from fakes import ScriptedEngine, _open, decode, encode, eos, of_kind, prompt_folder, run, scripted, tiny_team_engine
from hogwild import Sampling, Team
from hogwild.engine import Row, passes
from hogwild.errors import OptionError
from hogwild.eval.methods import find_method
from hogwild.eval.methods.alike import alike, majority
from hogwild.eval.methods.blind import Blind
from hogwild.eval.methods.hogwild import Hogwild
from hogwild.eval.methods.joined import pieces
from hogwild.eval.methods.readings import Trail
from hogwild.eval.outcome import Outcome, Question, TeamResult
from hogwild.eval.problem import Problem
from hogwild.team import events

GREEDY = Sampling(temperature=0)
ASKED = "final answer now: \\boxed{"


def question(budgets: Sequence[int] = (4, 8, 16), *, sampling: Sampling = GREEDY, **fields: Any) -> Question:
    given = {"id": "one", "question": "How many legs?", "answer": "8", "form": "boxed"} | fields
    return Question(Problem(**given), list(budgets), 3, sampling, 8)


class Told(ScriptedEngine):
    """Writes what ``script`` says for the prompt; asked for the answer, ``reply`` of all that the finisher reads."""

    script: Callable[[str], str]
    reply: Callable[[str], str]

    def _pass(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        passes.reserve(rows, self.pool)
        logits = torch.zeros(len(rows), self.vocab_size)
        for row, line in zip(rows, logits, strict=True):
            row.own.commit(row.tokens)
            line[self._wanted(decode([token for block in row.view for token in block.tokens]))] = 100.0
        return logits

    def _wanted(self, whole: str) -> int:
        prompt, _, written = whole.partition("assistant\n")
        wanted = self.script(prompt)
        if ASKED in written:
            before, _, written = written.rpartition(ASKED)
            wanted = self.reply(before)
        rest = wanted.removeprefix(written) if wanted.startswith(written) else "x"  # of what is only read
        return encode(rest)[0] if rest else eos()


def told(text: str | Callable[[str], str], reply: Callable[[str], str] = lambda _: "8}", **size: int) -> Told:
    engine: Told = _open(Told, size.get("pages", 256), size.get("positions", 2048), None)
    engine.script = text if callable(text) else lambda _: text
    engine.reply, engine.seen, engine.hook = reply, [], lambda: None
    return engine


def kept() -> tuple[list[str], Callable[[str], str]]:
    """A finisher that always answers 8, and what it reads each time."""
    read = list[str]()

    def reply(written: str) -> str:
        read.append(written)
        return "8}"

    return read, reply


def column(outcome: Outcome, field: str) -> list[Any]:
    return [getattr(reading, field) for reading in outcome.readings]


# One worker.


def test_single_is_asked_at_each_budget_until_it_has_ended() -> None:
    engine = told("It has legs.", lambda written: f"{len(written.partition('...')[0])}}}")
    outcome = play_alone(engine, find_method("single"), question())
    assert column(outcome, "budget") == [4, 8, 16]
    assert column(outcome, "passes") == [4, 8, 13]  # twelve letters and the end of the turn
    assert column(outcome, "tokens") == [4, 8, 13]
    assert column(outcome, "reason") == ["budget", "budget", "done"]
    assert [answer[:1] for answer in column(outcome, "answer")[:2]] == ["4", "8"]  # what the finisher had read by then
    assert outcome.error is None
    assert engine.pool.used_pages == 0


def test_what_single_has_found_is_its_answer_at_all_later_budgets() -> None:
    outcome = play_alone(told("It is \\boxed{6}.\n\nMore."), find_method("single"), question((4, 15, 20, 30)))
    assert column(outcome, "answer") == ["8", "8", "6", "6"]  # the finisher's, then its own
    assert column(outcome, "reason") == ["budget", "budget", "answer", "answer"]
    assert column(outcome, "passes") == [4, 15, 16, 16]


def test_without_the_finisher_only_what_was_written_counts() -> None:
    engine = told("It is \\boxed{6}, so 6.")
    outcome = play_alone(engine, find_method("single-nofinish"), question((4, 15, 16, 40)))
    assert column(outcome, "answer") == [None, "6", "6", "6"]
    assert column(outcome, "text")[0] == "It i"
    assert column(outcome, "reason") == ["budget", "budget", "budget", "answer"]


def test_the_seconds_leave_out_the_answers_that_were_asked_for_on_the_way() -> None:
    def at(kind: type[Any], count: int, time: float, **more: Any) -> Any:
        return kind(pass_=count, time=time, **more)

    token = {"worker": "Alice", "step": 1, "token": 1, "text": "a"}
    happened = [
        at(events.StepStarted, 0, 2.0, worker="Alice", step=1, text=""),
        at(events.Token, 1, 3.0, **token),
        at(events.Snapshot, 1, 10.0, budget=1, answer="1", text="1"),
        at(events.Token, 2, 12.0, **token),
    ]
    trail = Trail(TeamResult(happened, "out of luck"))
    assert [trail.seconds(budget) for budget in (1, 2, 3)] == [1.0, 3.0, 3.0]
    assert [trail.reason(budget) for budget in (1, 2, 3)] == ["budget", "error", "error"]
    assert [trail.reading(budget).answer for budget in (1, 2, 3)] == ["1", None, None]


# Several that know nothing of each other.


def finished(answer: str | None, count: int, reason: str = "answer") -> TeamResult:
    end = {"answer": answer, "text": f"text of {answer}", "reason": reason, "passes": count, "tokens": {"Alice": count}}
    more = {"prompt_tokens": 1, "prefill_seconds": 0.0, "decode_seconds": 0.0}
    return TeamResult([events.Finished(pass_=count, time=1.0, **end, **more)])


def outcome_of(name: str, asked: Question, results: Sequence[TeamResult]) -> Outcome:
    """What a method returns when its teams are said to have ended so."""
    going = find_method(name).run(told("x"), asked)
    next(going)
    with pytest.raises(StopIteration) as end:
        going.send(results)
    outcome: Outcome = end.value.value
    return outcome


def test_a_vote_counts_the_answers_that_are_there_by_then() -> None:
    results = [finished("7", 9), finished("8", 12), finished(" 8.", 20)]
    outcome = outcome_of("vote-3", question((10, 20)), results)
    assert column(outcome, "answer") == ["7", "8"]
    assert column(outcome, "text") == ["text of 7", "text of 8"]
    assert column(outcome, "passes") == [10, 20]
    assert column(outcome, "tokens")[1] == 41
    assert column(outcome, "reason") == ["budget", "answer"]


def test_in_a_vote_a_failed_worker_does_not_count_and_is_told() -> None:
    outcome = outcome_of("vote-2", question((10,)), [TeamResult([], "no luck"), finished("8", 5)])
    assert column(outcome, "answer") == ["8"]
    assert outcome.error == "no luck"
    outcome = outcome_of("vote-2", question((10,)), [TeamResult([], "no luck"), TeamResult([], "none at all")])
    assert column(outcome, "reason") == ["error"]


def test_majority() -> None:
    assert majority(["1", "2", "2"], "number") == 1
    assert majority([None, "1", "2"], "number") == 1  # a tie: the earlier worker
    assert majority([None, None], "number") is None


@pytest.mark.parametrize(
    ("one", "other", "form", "same"),
    [
        ("$1,200", "1200.0", "number", True),
        ("\\frac{1}{2}", "0.5", "boxed", True),
        ("1, 2.0, 3", "1,2,3", "boxed", True),
        ("1, 2", "2, 1", "boxed", False),
        ("1, 2", "1, 2, 3", "boxed", False),
        ("print(1)", "print(2)", "code", False),
        ("A word.", "a word", "text", True),
    ],
)
def test_answers_are_alike_by_what_they_mean(one: str, other: str, form: Any, same: bool) -> None:
    assert alike(one, other, form) is same
    assert alike(other, one, form) is same


def test_the_workers_of_a_vote_differ_and_the_first_one_is_single() -> None:
    teams = next(find_method("vote-3").run(tiny_team_engine(), question()))
    assert len({team.settings.seed for team in teams}) == 3
    assert {team.sampling.temperature for team in teams} == {0.7}  # greedy ones would all be alike
    warm = question(sampling=Sampling(temperature=0.2))
    (single,) = next(find_method("single").run(tiny_team_engine(), warm))
    first, *_ = next(find_method("vote-3").run(tiny_team_engine(), warm))
    assert (first.settings, first.sampling) == (single.settings, single.sampling)


def test_independent_workers_are_read_together_by_one_finisher() -> None:
    read, reply = kept()
    engine = told("Six and two.", reply)
    outcome = play_alone(engine, find_method("independent-2"), question((3, 50)))
    assert column(outcome, "answer") == ["8", "8"]
    assert column(outcome, "passes") == [3, 13]
    assert column(outcome, "tokens") == [6, 26]
    assert column(outcome, "reason") == ["budget", "done"]
    assert any(text.startswith("Six\n\nSix\n\n") for text in read)
    assert any(text.startswith("Six and two.\n\nSix and two.\n\n") for text in read)
    assert len(outcome.traces) == 4  # two workers, two finishers
    assert engine.pool.used_pages == 0


def test_the_finisher_of_joined_texts_reads_what_the_one_of_a_single_worker_reads() -> None:
    """The prompt is that of one worker, and the same words ask for the answer."""
    seen = dict[str, str]()
    for name in ("single", "independent-2"):
        engine = told("Eight.")
        play_alone(engine, find_method(name), question((6,)))
        last = next(row for rows in reversed(engine.seen) for row in map(decode, rows) if ASKED in row)
        seen[name] = last.replace("Eight.\n\nEight.", "Eight.").replace("...", "").replace("\n", "")
    assert seen["independent-2"] == seen["single"]


def test_long_texts_are_told_in_pieces_that_lose_nothing() -> None:
    text = "one\n\ntwo two two two\n\nthree\n\nfour"
    assert list(pieces(text, 10)) == ["one", "two two two two", "three\n\nfour"]
    assert list(pieces("", 10)) == []


# Skeleton of Thought.


def sketch(prompt: str) -> str:
    if "List the main points" in prompt:
        return "1. legs\n2. pairs\n3. sum\n"
    return "Two each." if "Point 2: pairs" in prompt else "Four."


@pytest.mark.parametrize(("name", "waves"), [("skeleton", 1), ("skeleton-2", 2), ("skeleton-1", 3)])
def test_a_skeleton_adds_up_its_stages(name: str, waves: int) -> None:
    read, reply = kept()
    engine = told(sketch, reply)
    outcome = play_alone(engine, find_method(name), question((5, 30, 200)))
    outline, long, short = 25, 10, 6  # each with the end of its turn
    whole = outline + {1: long, 2: long + short, 3: long + 2 * short}[waves]
    assert column(outcome, "passes") == [5, 30, whole]
    assert column(outcome, "tokens")[-1] == outline + long + 2 * short
    assert column(outcome, "reason") == ["budget", "budget", "done"]
    assert column(outcome, "answer") == ["8"] * 3
    assert any(text.startswith("1. le\n\n") for text in read)
    assert any("3. sum\n\nFour.\n\nTwo each.\n\nFour." in text for text in read)


def test_a_skeleton_that_the_budget_cuts_says_so() -> None:
    outcome = play_alone(told(sketch), find_method("skeleton-1"), question((31,)))
    assert column(outcome, "reason") == ["budget"]
    assert column(outcome, "passes") == [31]


# Teams.


@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_a_team_is_read_as_its_own_snapshots_say(layout: str) -> None:
    engine, asked = tiny_team_engine(), question((5, 9), sampling=Sampling(temperature=0.8))
    outcome = play_alone(engine, find_method(f"hogwild-3-{layout}"), asked)
    options: dict[str, Any] = {
        "layout": layout,
        "budget": 9,
        "seed": 3,
        "answer": "boxed",
        "answer_tokens": 8,
        "snapshots": (5,),
    }
    same = run(Team(engine, "How many legs?", 3, sampling=Sampling(temperature=0.8), **options))
    (snapshot,) = of_kind(same, "snapshot")
    assert [(one.answer, one.text) for one in outcome.readings] == [
        (snapshot.answer, snapshot.text),
        (same[-1].answer, same[-1].text),
    ]
    assert column(outcome, "tokens") == [15, 27]


def test_a_blind_worker_sees_only_the_prompt_and_itself(tmp_path: Path) -> None:
    steps = {"Alice": ["apples.\n\n", "pears."], "Bob": ["beans.\n\n", "peas."]}
    views = dict[str, list[str]]()
    for name, layout in (("blind", Blind()), ("seeing", "combined")):
        engine = scripted(steps)
        method = Hogwild(name, 2, layout=layout, prompt=prompt_folder(tmp_path / "set"))
        play_alone(engine, method, question((20,)))
        views[name] = [decode(row) for rows in engine.seen for row in rows]
    blind = [view for view in views["blind"] if "[finish]" not in view]
    assert not any("apples" in view and "beans" in view for view in blind)
    assert any("apples.\n\nAlice@2:pears." in view for view in blind)
    assert any("apples" in view and "beans" in view and "[finish]" in view for view in views["blind"])
    assert any("apples" in view and "beans" in view and "[finish]" not in view for view in views["seeing"])


def test_without_the_prompt_the_message_is_that_of_one_worker() -> None:
    engine = tiny_team_engine()
    (team,) = next(find_method("hogwild-2-noprompt").run(engine, question()))
    (single,) = next(find_method("single").run(engine, question()))
    assert team.setup.text("user") == single.setup.text("user")
    assert "team" in next(find_method("hogwild-2").run(engine, question()))[0].setup.text("user")


def test_parts_are_dealt_out_and_a_problem_without_them_is_refused() -> None:
    engine, asked = tiny_team_engine(), question(parts=["a?", "b?", "c?"])
    (team,) = next(find_method("hogwild-2-list").run(engine, asked))
    assert [[part.text for part in share] for share in team.setup.parts.values()] == [["a?", "b?"], ["c?"]]
    with pytest.raises(OptionError, match="has 0 for 2 workers"):
        find_method("hogwild-2-list").run(engine, question())
    with pytest.raises(OptionError, match="has 3 for 4 workers"):
        find_method("hogwild-4-list").run(engine, asked)


def test_the_box_of_a_part_ends_nothing(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["\\boxed{1}.\n\n", "More."], "Bob": ["\\boxed{2}."]}, answer="1, 2}")
    method = Hogwild("dealt", 2, assign="list", prompt=prompt_folder(tmp_path))
    outcome = play_alone(engine, method, question((60,), parts=["a?", "b?"]))
    assert column(outcome, "answer") == ["1, 2"]
    assert column(outcome, "reason") == ["done"]


def test_a_plan_counts_and_until_it_stands_there_is_no_answer(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["it is six."]}, plan="1. a\n2. b\n", answer="6}")
    method = Hogwild("planned", 2, assign="plan", prompt=prompt_folder(tmp_path))
    outcome = play_alone(engine, method, question((5, 30, 60)))
    assert column(outcome, "answer") == [None, "6", "6"]
    assert column(outcome, "passes") == [5, 21, 21]
    assert column(outcome, "tokens")[0] == 0


def test_what_one_worker_is_told_only_a_team_can_use() -> None:
    engine = told("x")
    asked = question((4,), form="text", private=["The key is 7.", ""], answered_by=1)
    (team,) = next(find_method("hogwild-2").run(engine, asked))
    assert [worker.prompt for worker in team.workers] == ["The key is 7.", None]
    for name in ("single", "vote-2", "independent-2", "skeleton"):
        with pytest.raises(OptionError, match="give a method such as hogwild-2"):
            find_method(name).run(engine, asked)
    with pytest.raises(OptionError, match="answered by worker 2"):
        find_method("hogwild-1").run(engine, asked)


def test_the_worker_that_answers_is_read_alone(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["key is 7."], "Bob": ["I see 7."]})
    method = Hogwild("pair", 2, prompt=prompt_folder(tmp_path))
    asked = question((6, 8), form="text", private=["The key is 7."], answered_by=1)
    outcome = play_alone(engine, method, asked)
    assert column(outcome, "answer") == ["I see", "I see 7."]
    assert of_kind(outcome.traces[0], "snapshot") == []


# What fails.


def test_a_failure_in_the_middle_keeps_the_readings_before_it() -> None:
    engine, left = told("A very long story, longer than that."), [12]

    def fail() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the machine is on fire")

    engine.hook = fail
    outcome = play_alone(engine, find_method("single"), question((3, 30)))
    assert column(outcome, "answer") == ["8", None]
    assert column(outcome, "reason") == ["budget", "error"]
    assert "on fire" in str(outcome.error)
    assert column(outcome, "passes")[1] > 3


def test_a_full_window_and_a_small_pool_are_readings() -> None:
    outcome = play_alone(told("word " * 200, positions=256), find_method("single"), question((10, 900)))
    assert column(outcome, "reason") == ["budget", "window"]
    assert column(outcome, "answer") == ["8", "8"]
    small = play_alone(told("x", pages=4), find_method("hogwild-4"), question((10, 900)))
    assert column(small, "reason") == ["error", "error"]
    assert column(small, "passes") == [0, 0]
    assert "kv_memory" in str(small.error)


def test_a_team_without_events_is_kept_in_order() -> None:
    engine = tiny_team_engine(pages=24)
    fits, not_so = Team(engine, "a", 1, budget=4), Team(engine, "b", 16, budget=2000)
    results = run_together(engine, [not_so, fits])
    assert [result.error is None for result in results] == [False, True]
    assert results[1].events[-1].kind == "finished"
