"""Traces of an evaluation's folder: measured in its report, by ``hogwild eval collaboration`` and by a judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_story import story
from evaluating import made_up, record
from hogwild.cli import main
from hogwild.errors import InputError, TraceError
from hogwild.eval.collaboration import by_method
from hogwild.eval.judge import Judgement, judge_table, transcript
from hogwild.eval.records import write_traces
from hogwild.eval.report import Report
from hogwild.eval.traces import read_runs

METHODS = {"single": 1, "vote-2": 1, "hogwild-2": 2}
PARTS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two problems of three parts by three methods; nothing was read of the first one's single."""
    made = [
        record(problem, method, 8, 1.0, parts=() if (problem, method) == (0, "single") else (True,) * PARTS)
        for problem in range(2)
        for method in METHODS
    ]
    out = made_up(tmp_path / "out", made)
    for one in made:
        teams = [story(workers=METHODS[one.method])] * (2 if one.method == "vote-2" else 1)
        finishers = [event for event in story(workers=2) if event.kind != "token"]
        write_traces(out / "traces", one.unit, [*teams, finishers])
    return out


def test_a_folder_holds_its_units_with_the_parts_of_their_problems(folder: Path) -> None:
    found = read_runs(folder)
    assert [(one.method, len(one.teams), one.parts) for one in found] == [
        ("single", 1, PARTS), ("vote-2", 2, PARTS), ("hogwild-2", 1, PARTS),
    ] * 2  # fmt: skip
    assert found[0].name == f"{folder}: p0 by single, seed 0"


def test_one_unit_alone_can_be_read(folder: Path) -> None:
    path = folder / "traces" / "p0--vote-2--0.jsonl.gz"
    (one,) = read_runs(path)
    assert (one.name, len(one.teams)) == (str(path), 2)


def test_who_is_alone_does_not_work_together(folder: Path) -> None:
    found = by_method(read_runs(folder))
    assert {name: len(runs) for name, runs in found.items()} == {"vote-2": 2, "hogwild-2": 2}
    assert [share.worker for share in found["vote-2"][0].shares] == ["Alice of 1", "Alice of 2"]
    assert found["hogwild-2"][0].parts == PARTS


def test_a_report_says_how_they_worked_together(folder: Path, tmp_path: Path) -> None:
    table = Report.of(folder).tables()[-1]
    assert table.title.startswith("Collaboration")
    assert [row[:2] for row in table.rows] == [("vote-2", "2"), ("hogwild-2", "2")]
    bare = made_up(tmp_path / "bare", [record(0, "hogwild-2", 8, 1.0)])
    assert not any(table.title.startswith("Collaboration") for table in Report.of(bare).tables())


def test_command_by_method(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "collaboration", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{folder}: means over the runs" in out
    assert "hogwild-2" in out
    assert "single" not in out
    assert main(["eval", "collaboration", str(folder), "--json", "--parts", "5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found), found[-1]["parts"]) == (6, 5)
    assert main(["eval", "collaboration", str(folder), "--together"]) == 0
    assert "Bob of" in capsys.readouterr().out


def test_what_holds_no_traces(folder: Path, tmp_path: Path) -> None:
    bare = made_up(tmp_path / "bare", [record(0, "hogwild-2", 8, 1.0)])
    with pytest.raises(InputError, match="no traces"):
        read_runs(bare)
    with pytest.raises(InputError, match="no results"):
        read_runs(tmp_path)
    with pytest.raises(TraceError, match="cannot be read"):
        read_runs(tmp_path / "none.jsonl")


def test_a_judge_reads_all_teams_of_a_unit(folder: Path) -> None:
    shown = [transcript(*one.teams) for one in read_runs(folder)[:3]]
    assert ["Bob" in text for text in shown] == [False, False, True]
    assert "Writers: Alice of 1, Alice of 2" in shown[1]


def test_judgements_by_method() -> None:
    found = [Judgement(f"t{run}", f"r{run}", 1, "wise", score, "") for run, score in enumerate((2, 4, None))]
    table = judge_table(found, {"t0": "vote-2", "t1": "hogwild-2", "t2": "hogwild-2"})
    assert [(row[0], row[2], row[3]) for row in table.rows[3:-1]] == [
        ("all 1 of vote-2", "2.00", "0"), ("all 2 of hogwild-2", "4.00", "1"),
    ]  # fmt: skip
    assert table.rows[-1][0] == "all 3"
