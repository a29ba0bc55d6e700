"""Figures, tables and plots of an evaluation, on results whose figures are known."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluating import made_up, record
from hogwild.errors import InputError
from hogwild.eval import figures, plots
from hogwild.eval.figures import Estimate
from hogwild.eval.records import Record
from hogwild.eval.report import Report, compare, gain, percent, share

NAMES = ("passes", "differences", "seconds", "tokens")


def two_methods(count: int = 20) -> list[Record]:
    """``pair`` has right a fifth more than ``single`` at each budget: 20, 40, 60% and 40, 60, 80%."""
    made = list[Record]()
    for problem in range(count):
        for place, budget in enumerate((64, 128, 256)):
            for more, method in enumerate(("single", "pair")):
                value = float(problem % 5 < 1 + place + more)
                made.append(record(problem, method, budget, value, tokens=budget * (1 + more)))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_up(tmp_path / "gsm", two_methods(), model="/models/qwen-1.5b", quantize="int8")


def test_wilson_is_the_textbook_interval() -> None:
    found = figures.wilson(8, 10)
    assert (found.mean, found.count) == (0.8, 10)
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)
    assert figures.wilson(0, 10).low == 0.0
    assert figures.wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert figures.wilson(10, 10).high == pytest.approx(1.0)


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=2, max_size=30))
def test_a_bootstrap_holds_its_mean_and_is_repeatable(values: list[float]) -> None:
    found = figures.bootstrap(np.array(values))
    assert found == figures.bootstrap(np.array(values))
    assert min(values) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(values) + 1e-9


def test_a_bootstrap_of_many_is_as_wide_as_the_normal_says() -> None:
    values = np.random.default_rng(3).random(200)
    half = 1.96 * values.std() / math.sqrt(200)
    found = figures.bootstrap(values)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_one_problem_has_no_interval() -> None:
    found = figures.accuracy([record(1, "single", 4, 0.4)])
    assert found.mean == 0.4
    assert math.isnan(found.low)
    assert percent(found) == "40.0"
    assert gain(found) == "+40.0"


def test_seeds_of_a_problem_count_as_one_problem() -> None:
    twice = [record(problem, "single", 4, problem % 2, seed=seed) for problem in range(8) for seed in range(2)]
    once = [one for one in twice if one.seed == 0]
    assert figures.accuracy(twice).count == figures.accuracy(once).count == 8
    # Two equal draws say no more about other problems than one does.
    assert figures.accuracy(twice).high - 0.5 > 0.25


def test_all_right_with_several_seeds_is_not_certain() -> None:
    found = figures.accuracy(
        [record(problem, "single", 4, 1.0, seed=seed) for problem in range(5) for seed in range(2)]
    )
    assert found.mean == 1.0
    assert found.low == pytest.approx(figures.wilson(5, 5).low)


def test_differences_are_paired(folder: Path) -> None:
    made = Report.of(folder)
    assert [(one.method, one.budget) for one in made.differences] == [("pair", 64), ("pair", 128), ("pair", 256)]
    for one in made.differences:
        assert one.gain.mean == pytest.approx(0.2)
        assert 0 < one.gain.low < 0.2 < one.gain.high < 0.45
    # The same accuracies on other problems say nothing of pairs.
    left, right = [record(0, "a", 4, 1.0)], [record(1, "b", 4, 1.0)]
    assert figures.difference(left, right) is None


def test_some_methods_in_the_order_in_which_they_are_named(folder: Path) -> None:
    made = Report.of(folder, ["pair", "single"])
    assert (made.first, made.methods) == ("pair", ["pair", "single"])
    assert [one.gain.mean for one in made.differences] == pytest.approx([-0.2] * 3)
    assert Report.of(folder, ["pair"]).methods == ["pair"]
    with pytest.raises(InputError, match="there is no method 'trio'; give some of single, pair"):
        Report.of(folder, ["trio"])


def test_a_unit_that_is_missing_on_one_side_is_no_pair() -> None:
    left = [record(problem, "a", 4, 1.0) for problem in range(3)]
    right = [record(problem, "b", 4, 0.0) for problem in range(1, 5)]
    found = figures.difference(left, right)
    assert found is not None
    assert (found.mean, found.count) == (1.0, 2)


def test_where_the_first_method_is_caught_up(folder: Path) -> None:
    single, pair = Report.of(folder).ends
    assert (single.enough, single.ratio) == (256, 1.0)
    assert (pair.enough, pair.ratio) == (128, 0.5)
    assert pair.accuracy.mean == pytest.approx(0.8)


def test_an_end_that_comes_early_counts_from_there(tmp_path: Path) -> None:
    rise = {"single": (0.0, 1.0, 1.0), "slow": (0.0, 0.0, 1.0), "bad": (0.0, 0.0, 0.0)}
    made = [
        record(problem, method, budget, value)
        for problem in range(3)
        for method, values in rise.items()
        for budget, value in zip((10, 20, 40), values, strict=True)
    ]
    found = {one.method: one for one in Report.of(made_up(tmp_path / "out", made)).ends}
    assert (found["single"].enough, found["single"].ratio) == (20, 1.0)
    assert (found["slow"].enough, found["slow"].ratio) == (40, 2.0)
    assert (found["bad"].enough, found["bad"].ratio) == (None, None)


def test_what_gave_nothing_is_shown(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"status": "nothing"}, {"status": "nothing", "reason": "error", "error": "no room"},
        {"reason": "window"}, {"reason": "cache"},
    ]  # fmt: skip
    made = [record(number, "single", 4, 0.0, **kind) for number, kind in enumerate(kinds)]
    (point,) = Report.of(made_up(tmp_path / "out", made)).points
    assert (point.nothing, point.failed, point.window, point.units) == (0.25, 0.25, 0.5, 4)
    assert point.accuracy.mean == 0
    text = Report.of(tmp_path / "out").markdown([])
    assert "| single | 4 | 4 | 0.0% | 25% | 25% | 50% | 4 | 8 | 0.4 |" in text


def test_tables_say_it_all(folder: Path) -> None:
    accuracy, differences, ends, details = Report.of(folder).tables()
    assert accuracy.title.startswith("letters, qwen-1.5b (int8): accuracy in %")
    assert accuracy.columns == ("method", "64", "128", "256")
    assert accuracy.rows[0][:2] == ("single", "20.0 (8–42)")
    assert differences.rows[0][1] == "+20.0 (+5 to +40) *"
    assert ends.rows[1] == ("pair", "256", "80.0 (58–92)", "128", "0.50")
    assert len(details.rows) == 6


def test_the_page_holds_tables_plots_and_where_it_was_measured(folder: Path) -> None:
    page = Report.of(folder).write(folder)
    text = page.read_text()
    assert page == folder / "report.md"
    for name in NAMES:
        assert f"({name}.svg)" in text
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ET.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")
    assert "20 problems of nowhere (SHA-256 111111111111), seed 0, 1 at once, temperature 0.8." in text
    assert "commit abc" in text
    columns = {line.count("|") for line in re.findall(r"^\|.*$", text, re.MULTILINE) if "units" in line}
    assert columns == {11}


def test_a_report_made_again_is_the_same_file(folder: Path) -> None:
    def contents() -> dict[str, bytes]:
        Report.of(folder).write(folder, "again-")
        return {path.name: path.read_bytes() for path in folder.glob("again-*")}

    first = contents()
    assert first == contents()
    assert len(first) == 9


def test_many_methods_and_times_of_none(tmp_path: Path) -> None:
    made = [
        record(problem, f"method-{number}", budget, float(problem > number), seconds=0.0)
        for problem in range(12)
        for number in range(10)
        for budget in (10, 1000)
    ]
    report = Report.of(made_up(tmp_path / "out", made))
    assert plots.seconds(report) is None
    figure = plots.passes(report)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == 10
    assert not report.write(tmp_path).with_name("seconds.png").exists()


def test_one_method_alone_has_no_differences(tmp_path: Path) -> None:
    report = Report.of(made_up(tmp_path / "out", [record(1, "single", 4, 1.0), record(2, "single", 4, 0.0)]))
    assert plots.differences(report) is None
    assert len(report.tables()) == 3
    assert not report.write(tmp_path).with_name("differences.png").exists()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_never_touch_and_stay_in_order(places: list[float]) -> None:
    moved = plots._apart(sorted(places))
    assert all(b - a >= plots.GAP - 1e-9 for a, b in pairwise(moved))
    if all(b - a >= plots.GAP for a, b in pairwise(sorted(places))):
        assert moved == pytest.approx(sorted(places))
    assert sum(moved) == pytest.approx(sum(places))


def test_two_folders_are_compared_method_by_method(folder: Path, tmp_path: Path) -> None:
    made = [record(1, "pair", 64, 1.0), record(9, "new", 64, 1.0), record(1, "single", 64, 1.0)]
    other = made_up(tmp_path / "other", made)
    single, pair = compare(folder, None, other, None)
    assert "gsm: single, B = " in single.title
    assert pair.rows[0][:2] == ("64", "1")
    assert pair.rows == (("64", "1", "100.0 (21–100)", "100.0 (21–100)", "+0.0"),)
    assert single.rows[0][2:] == ("0.0 (0–79)", "100.0 (21–100)", "+100.0")


def test_two_methods_are_compared(folder: Path) -> None:
    (found,) = compare(folder, "single", folder, "pair")
    assert [row[0] for row in found.rows] == ["64", "128", "256"]
    assert found.rows[2] == ("256", "20", "60.0 (39–78)", "80.0 (58–92)", "+20.0 (+5 to +40) *")


@pytest.mark.parametrize(
    ("mine", "yours", "message"),
    [
        ("triple", None, "there is no method 'triple': known are single, pair"),
        (None, "new", "the two have no method in common: name one of each"),
        ("single", "new", "have no budget with problems in common"),
    ],
)
def test_what_cannot_be_compared(folder: Path, tmp_path: Path, mine: str, yours: str, message: str) -> None:
    other = made_up(tmp_path / "other", [record(99, "new", 64, 1.0)])
    with pytest.raises(InputError, match=message):
        compare(folder, mine, other, yours)


def test_other_tasks_are_not_compared(folder: Path, tmp_path: Path) -> None:
    other = made_up(tmp_path / "other", [record(1, "single", 64, 1.0)], task="numbers")
    with pytest.raises(InputError, match="different tasks, letters and numbers"):
        compare(folder, None, other, None)


def test_nothing_done_yet(tmp_path: Path) -> None:
    made_up(tmp_path / "out", [record(1, "single", 4, 1.0)])
    (tmp_path / "out" / "results.jsonl").unlink()
    with pytest.raises(InputError, match="no unit has ended yet"):
        Report.of(tmp_path / "out")


def test_cells() -> None:
    assert percent(Estimate(0.625, 0.51, 0.73, 40)) == "62.5 (51–73)"
    assert gain(Estimate(-0.1, -0.2, -0.02, 40)) == "-10.0 (-20 to -2) *"
    assert (share(0.0), share(0.257)) == ("·", "26%")
