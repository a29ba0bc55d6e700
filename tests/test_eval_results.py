"""The folder of an evaluation: the same in every run, however often it was killed; nothing is done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from evaluating import BUDGETS, asked, evaluate, made_up, problems, record, results_of
from hogwild.errors import HogwildError, InputError, OptionError
from hogwild.eval import records, results
from hogwild.eval.problem import Loaded
from hogwild.eval.records import Record, Unit

FILES = {"run.json", "results.jsonl", "times.jsonl", "traces", ".lock"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert evaluate(out, asked()) == 6
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_its_files(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == FILES
    found = lines(whole / "results.jsonl")
    order = [(f"letters/{i}", name, 0, budget) for i in range(3) for name in ("single", "pair") for budget in BUDGETS]
    assert [(one["problem"], one["method"], one["seed"], one["budget"]) for one in found] == order
    assert not {"seconds", "wall"} & found[0].keys()
    assert [
        (one["problem"], one["method"], one["seed"], one["budget"]) for one in lines(whole / "times.jsonl")
    ] == order
    run = json.loads((whole / "run.json").read_text())
    assert (run["task"], run["model"], run["methods"], run["limit"]) == ("letters", "tiny", ["single", "pair"], 3)
    assert run["data"] == {"origin": "made for a test", "checksum": "0" * 64}
    assert [one["machine"]["commit"] for one in run["sessions"]] == ["abc"]


def test_the_same_command_again_does_nothing(whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in ("run.json", "results.jsonl", "times.jsonl")}
    assert evaluate(whole, asked()) == 0
    assert {name: (whole / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("parallel", [1, 3])
def test_stopped_and_continued_is_the_same_file(whole: Path, tmp_path: Path, parallel: int) -> None:
    out, wanted = tmp_path / "out", asked(parallel=parallel)
    assert evaluate(out, wanted, stop_after=1) == 1
    assert not (out / "results.jsonl").exists()
    with (out / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"records": [{"problem": "letters/2", "met')
    assert evaluate(out, wanted, stop_after=3) == 3
    assert evaluate(out, wanted) == 2
    assert (out / "results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()
    assert not (out / "journal.jsonl").exists()


def test_a_process_killed_in_the_middle(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = Path(__file__).with_name("evaluating.py")
    with subprocess.Popen([sys.executable, child, out], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(2)]
        process.kill()
    assert told == ["1\n", "2\n"]
    assert process.returncode == -9
    there = len(results.read(out).records)
    assert 2 <= there < 6
    assert evaluate(out, asked()) == 6 - there
    assert (out / "results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()


def test_a_kill_between_the_results_and_the_end_of_the_journal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(out, asked(limit=1))
    before = (out / "results.jsonl").read_bytes()
    both = [one for budgets in results.read(out).records.values() for one in budgets.values()]
    (out / "journal.jsonl").write_bytes(records.line({"records": [asdict(one) for one in both]}))
    assert evaluate(out, asked(limit=1)) == 0
    assert (out / "results.jsonl").read_bytes() == before


def test_more_of_everything_does_only_what_is_new(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate(out, asked(["single"], limit=1)) == 1
    assert evaluate(out, asked(["pair"], limit=1)) == 1
    assert evaluate(out, asked(limit=2)) == 2
    assert evaluate(out, asked(limit=2, seeds=2)) == 4
    assert evaluate(out, asked(limit=1)) == 0  # less is no reason to forget anything
    run = json.loads((out / "run.json").read_text())
    assert (run["methods"], run["seeds"], run["limit"]) == (["single", "pair"], 2, 2)
    assert len(run["sessions"]) == 4
    known = lines(whole / "results.jsonl")
    found = lines(out / "results.jsonl")
    assert [one for one in found if one["seed"] == 0] == [one for one in known if one["problem"] != "letters/2"]
    assert len(found) == 16


def test_a_new_budget_does_the_unit_again_and_keeps_the_old_budgets(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(out, asked(["single"], limit=1))
    before = lines(out / "results.jsonl")
    assert evaluate(out, asked(["single"], limit=1, budgets=(6,))) == 1
    found = lines(out / "results.jsonl")
    assert [one["budget"] for one in found] == [4, 6, 8]
    assert [found[0], found[2]] == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "its results were made with model tiny, and now model is other"),
        ({"dtype": "bfloat16"}, "with dtype not given, and now dtype is bfloat16"),
        ({"parallel": 4}, "with parallel 1, and now parallel is 4: give the same, or another folder"),
    ],
)
def test_another_setting_is_refused(whole: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        evaluate(whole, asked(**change))


def test_settings_that_came_later_were_not_asked_for(whole: Path) -> None:
    later = asked()
    assert evaluate(whole, replace(later, fixed={**later.fixed, "whole": False, "graphs": False})) == 0
    with pytest.raises(OptionError, match="made with whole False, and now whole is True"):
        evaluate(whole, replace(later, fixed={**later.fixed, "whole": True}))


def test_other_problems_under_the_same_names_are_refused(whole: Path) -> None:
    changed = [replace(one, answer="y") for one in problems(1)]
    with (
        results.opened(whole, asked()) as folder,
        pytest.raises(OptionError, match="'letters/0' is not the one .* the data have changed"),
    ):
        folder.check(Loaded(changed, "elsewhere", "1" * 64))


def test_two_cannot_write_to_one_folder(whole: Path) -> None:
    with results.opened(whole, asked()), pytest.raises(OptionError, match="another process writes there now"):
        evaluate(whole, asked())
    assert not FileLock(whole / ".lock").is_locked


def test_what_cannot_be_asked() -> None:
    with pytest.raises(OptionError, match="give at least one, and each once"):
        asked(["single", "single"])
    with pytest.raises(OptionError, match="give at least one"):
        asked([])
    with pytest.raises(OptionError, match="give passes above 0, rising"):
        asked(budgets=(8, 4))
    with pytest.raises(OptionError, match="limit=0: give 1 or more"):
        asked(limit=0)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no results; give a folder"):
        results.read(tmp_path)
    (tmp_path / "results.jsonl").write_text("{}\n")
    with pytest.raises(OptionError, match=r"it holds results, but no run.json"), results.opened(tmp_path, asked()):
        pass
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="is of format 99, and this version reads 1"):
        results.read(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        results.read(tmp_path)
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OptionError, match="no results can be written there"),
        results.opened(tmp_path / "file", asked()),
    ):
        pass


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    out = made_up(tmp_path / "out", [record(1, "single", 4, 1.0), record(2, "single", 4, 1.0)])
    data = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join(["damaged", *data]) + "\n")
    with pytest.raises(HogwildError, match=r"results.jsonl, line 1 is no JSON object"):
        results.read(out)
    (out / "results.jsonl").write_text('{"problem": "p1"}\n')
    with pytest.raises(InputError, match="is no line of an evaluation's results"):
        results.read(out)


def test_results_without_their_times_can_be_read(tmp_path: Path) -> None:
    out = made_up(tmp_path / "out", [record(1, "single", 4, 1.0)])
    (out / "times.jsonl").unlink()
    (found,) = results.read(out).sorted()
    assert (found.value, found.seconds) == (1.0, 0.0)


def test_traces_of_each_team_come_back(whole: Path, tmp_path: Path) -> None:
    found = dict(results.read(whole).traces())
    assert len(found) == 6
    for unit, teams in found.items():
        assert len(teams) == 1
        assert teams[0][0].kind == "started"
        assert teams[0][-1].kind == "finished"
        assert len(teams[0][0].workers) == {"single": 1, "pair": 2}[unit.method]
    assert evaluate(tmp_path / "out", asked(["stages"], limit=1)) == 1
    ((_, three),) = results.read(tmp_path / "out").traces()
    assert [team[-1].kind for team in three] == ["finished"] * 3


def test_a_damaged_trace_is_named(tmp_path: Path) -> None:
    for data in (b"no gzip", b""):
        (tmp_path / "x.jsonl.gz").write_bytes(data)
        if data:
            with pytest.raises(InputError, match=r"x.jsonl.gz.* cannot be read"):
                records.read_traces(tmp_path / "x.jsonl.gz")


def test_names_of_trace_files_are_harmless_and_distinct() -> None:
    names = [records.trace_name(Unit(one, "single", 0)) for one in ("a/b", "a_b", "../a", "a b", "ä", "x" * 300)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and not name.startswith("..--") and len(name) < 130 for name in names)


@given(cut=st.integers(0, 400))
def test_a_journal_cut_anywhere_keeps_its_whole_lines(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    units = [records.line({"records": [asdict(record(i, "single", 4, 1.0, text="é\n"))]}) for i in range(2)]
    data = b"".join(units)
    path.write_bytes(data[: len(data) - min(cut, len(data))])
    results._cut(path)
    assert path.read_bytes() in (b"", units[0], data)
    assert len(path.read_bytes()) == sum(len(one) for one in units[: path.read_bytes().count(b"\n")])


def test_a_tail_of_zeros_is_cut_as_well(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"records": []}\n' + b"\0" * 8 + b"\n")
    results._cut(path)
    assert path.read_bytes() == b'{"records": []}\n'


def test_half_characters_of_a_model_are_no_reason_to_fail(tmp_path: Path) -> None:
    out = made_up(tmp_path / "out", [record(1, "single", 4, 1.0, text="a\ud800b")])
    assert results.read(out).sorted()[0].text == "a?b"


def test_records_come_in_the_order_of_the_run(tmp_path: Path) -> None:
    mixed: list[Record] = [record(2, "b", 8, 1), record(2, "a", 8, 1), record(1, "a", 4, 1), record(2, "a", 4, 0)]
    out = made_up(tmp_path / "out", mixed)
    assert results_of(results.read(out)) == [("p2", "b", 0, 8), ("p2", "a", 0, 4), ("p2", "a", 0, 8), ("p1", "a", 0, 4)]
