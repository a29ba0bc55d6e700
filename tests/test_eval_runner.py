"""Units of an evaluation through one scheduler: stages, failures, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluating import BUDGETS, WARM, Letters, methods, problems
from fakes import scripted, tiny_team_engine
from hogwild.errors import OptionError
from hogwild.eval.problem import Problem, Score
from hogwild.eval.records import Unit
from hogwild.eval.runner import Done, Runner, Todo


def todo(names: Sequence[str], count: int = 2, seeds: int = 1, budgets: Sequence[int] = BUDGETS) -> list[Todo]:
    units = [(problem, seed, name) for problem in problems(count) for seed in range(seeds) for name in names]
    return [(problem, Unit(problem.id, name, seed), budgets) for problem, seed, name in units]


def runner(folder: Path, parallel: int = 1, engine: Any = None, task: Any = None) -> Runner:
    engine = engine or tiny_team_engine(pages=512)
    return Runner(engine, task or Letters(), list(methods(folder / "p").values()), WARM, parallel=parallel)


def same(done: Done) -> tuple[Any, ...]:
    """What is the same in every run."""
    return (done.unit, [(one.answer, one.text, one.value, one.passes, one.tokens) for one in done.records], done.error)


def test_a_unit_has_a_record_for_each_budget(tmp_path: Path) -> None:
    done = list(runner(tmp_path).run(todo(["single", "pair"])))
    assert [one.unit.method for one in done] == ["single", "pair", "single", "pair"]
    for one in done:
        assert [record.budget for record in one.records] == list(BUDGETS)
        assert all(record.unit == one.unit and record.error is None for record in one.records)
        assert [record.reason for record in one.records] == ["budget", "budget"]
        assert one.records[0].passes == 4
        assert one.records[1].tokens == 8 * len(one.traces[0][0].workers)  # type: ignore[union-attr]
        assert one.traces[0][-1].kind == "finished"
        assert one.records[0].wall > 0


def test_stages_follow_each_other_and_a_stage_may_be_empty(tmp_path: Path) -> None:
    (done,) = runner(tmp_path).run(todo(["stages"], 1))
    assert done.error is None
    assert [events[-1].kind for events in done.traces] == ["finished"] * 3


def test_several_at_once_give_the_same_as_one_after_another(tmp_path: Path) -> None:
    wanted = todo(["single", "stages", "breaks"], 2, seeds=2)
    alone = sorted(map(same, runner(tmp_path).run(wanted)))
    together = sorted(map(same, runner(tmp_path, 5).run(wanted)))
    assert together == alone
    assert len(alone) == len(wanted)


def test_what_was_done_before_changes_nothing(tmp_path: Path) -> None:
    wanted = todo(["single", "pair"], 3)
    first = {done.unit: same(done) for done in runner(tmp_path).run(wanted)}
    for done in runner(tmp_path).run(wanted[3:]):
        assert same(done) == first[done.unit]


def test_what_fails_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    done = {one.unit.method: one for one in runner(tmp_path, 4).run(todo(["refuses", "breaks", "pair"], 1))}
    assert done["refuses"].error == "refuses needs parts, and letters/0 has none"
    assert done["breaks"].error == "ZeroDivisionError: by zero"
    assert done["breaks"].traces[0][-1].kind == "finished"  # what its team told is kept
    assert done["pair"].error is None
    for name in ("refuses", "breaks"):
        for record in done[name].records:
            assert (record.value, record.status, record.reason, record.failed) == (0.0, "nothing", "error", True)


def test_a_team_that_the_pool_cannot_hold_is_a_failure_of_its_unit(tmp_path: Path) -> None:
    small = runner(tmp_path, engine=tiny_team_engine(pages=8))
    (done,) = small.run(todo(["pair"], 1, budgets=(4, 900)))
    assert done.error is not None
    assert "the pool has 8" in done.error
    assert small.scheduler.idle


def test_a_team_that_fails_in_mid_run_reaches_the_method(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["One.\n\n"], "Bob": ["Two.\n\n"]})
    broken = runner(tmp_path, engine=engine)

    def hook() -> None:
        if len(engine.seen) > 5:
            raise RuntimeError("no more")

    engine.hook = hook
    (done,) = broken.run(todo(["pair"], 1))
    assert done.error is not None
    assert "no more" in done.error
    assert done.records[-1].failed


def test_an_error_of_the_score_is_one_of_the_unit(tmp_path: Path) -> None:
    class Careless(Letters):
        def score(self, problem: Problem, answer: str | None, text: str) -> Score:
            raise KeyError("meta")

    (done,) = runner(tmp_path, task=Careless()).run(todo(["single"], 1))
    assert done.error == "the score failed: 'meta'"
    assert [record.status for record in done.records] == ["nothing", "nothing"]


def test_leaving_in_the_middle_frees_everything(tmp_path: Path) -> None:
    one = runner(tmp_path, 3)
    running = one.run(todo(["single", "pair"], 4))
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert one.scheduler.idle
    assert one.engine.pool.used_pages == 0


def test_an_interrupt_frees_everything_and_goes_on_up(tmp_path: Path) -> None:
    engine = scripted()
    one = runner(tmp_path, 2, engine=engine)

    def hook() -> None:
        if len(engine.seen) > 6:
            engine.hook = lambda: None
            raise KeyboardInterrupt

    engine.hook = hook
    with pytest.raises(KeyboardInterrupt):
        list(one.run(todo(["pair"], 3)))
    assert one.scheduler.idle
    assert engine.pool.used_pages == 0


def test_a_method_that_cannot_do_the_problems_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="refuses needs parts"):
        runner(tmp_path).check(problems(1)[0], BUDGETS)


def test_parallel_is_a_number_from_one(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="parallel is 0: give 1 or more"):
        runner(tmp_path, 0)
