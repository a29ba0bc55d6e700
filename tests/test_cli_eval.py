"""``hogwild eval``: what may be asked for, what is shown, how it goes on. The model is tiny, the task is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evaluating import Letters, made_up, methods, record
from fakes import scripted, tiny_team_engine
from hogwild.cli import INTERRUPTED, accuracy, main, needs, units
from hogwild.engine import Engine
from hogwild.errors import OptionError
from hogwild.eval import methods as methods_module
from hogwild.eval import tasks


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The made-up task, methods and model; returns what the model was asked to be loaded with."""
    found, loads = methods(tmp_path / "prompt"), list[dict[str, Any]]()

    def find(name: str) -> Any:
        if name not in found:
            raise OptionError(f"method {name!r} is unknown: give one of {', '.join(found)}")
        return found[name]

    def load(model: str, **options: Any) -> Engine:
        loads.append(options)
        return tiny_team_engine(pages=512)

    monkeypatch.setattr(tasks, "find_task", lambda name: Letters())
    monkeypatch.setattr(methods_module, "find_method", find)
    monkeypatch.setattr(Engine, "load", load)
    monkeypatch.chdir(tmp_path)
    return loads


def run(*more: str) -> int:
    base = ["eval", "run", "letters", "--methods", "single,pair", "--budgets", "8,4", "--limit", "2", "--out", "out"]
    return main([*base, *more])


def read(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "results.jsonl").read_text().splitlines()]


def test_run_then_report(stage: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "2", "--temperature", "0.7", "--parallel", "3") == 0
    out, err = capsys.readouterr()
    assert "out: 8 units are done; see them with: hogwild eval report out" in out
    assert "8 of 8 units" in err
    assert [(one["method"], one["budget"]) for one in read()[:4]] == [
        ("single", 4), ("single", 8), ("pair", 4), ("pair", 8),
    ]  # fmt: skip
    run_json = json.loads(Path("out/run.json").read_text())
    assert run_json["temperature"] == 0.7
    assert run_json["sessions"][0]["sampling"]["temperature"] == 0.7
    assert run_json["sessions"][0]["machine"]["commit"]
    assert main(["eval", "report", "out"]) == 0
    out, _ = capsys.readouterr()
    assert "accuracy in % (95% interval) by budget in passes" in out
    assert "written: out/report.md, and its plots beside it" in out
    assert Path("out/passes.png").stat().st_size > 10_000


def test_again_loads_nothing_and_more_does_the_rest(stage: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert run() == 0
    assert len(stage) == 1
    assert run("--limit", "3") == 0
    assert "4 units of these are done already" in capsys.readouterr().err
    assert len(read()) == 12


def test_options_reach_the_model(stage: list[Any]) -> None:
    model = ["--quantize", "int8", "--kv-memory", "1GB", "--dtype", "float32", "--attention", "fused", "--graphs"]
    assert run(*model, "--whole", "--no-traces") == 0
    assert {name: stage[0][name] for name in ("quantize", "kv_memory", "dtype", "attention", "graphs")} == {
        "quantize": "int8", "kv_memory": 10**9, "dtype": "float32", "attention": "fused", "graphs": True,
    }  # fmt: skip
    found = json.loads(Path("out/run.json").read_text())
    assert (found["whole"], found["graphs"]) == (True, True)
    assert not Path("out/traces").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "single,triple"], "method 'triple' is unknown"),
        (["--methods", "single,single"], "--methods: 'single,single' has an empty or a repeated part"),
        (["--methods", "single,refuses"], "refuses needs parts, and letters/0 has none"),
        (["--budgets", "8,x"], "--budgets='8,x' is not possible: give whole numbers"),
        (["--budgets", "0,8"], "give passes above 0"),
        (["--limit", "0"], "limit=0: give 1 or more"),
        (["--seed", "-1"], "--seed: -1 is out of range"),
        (["--parallel", "0"], "--parallel: 0 is out of range"),
        (["--temperature", "-1"], "--temperature: -1.0 is out of range"),
        (["--kept", "--whole"], "--kept and --whole cannot be had together"),
        (["--quantize", "int7"], "--quantize: unknown value 'int7'"),
        (["--out", "prompt/user.jinja"], "no results can be written there"),
    ],
)
def test_what_cannot_be(stage: list[Any], capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    assert run(*more) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out/run.json").exists()


def test_another_setting_for_the_same_folder(stage: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    capsys.readouterr()
    assert run("--temperature", "0.5") == 2
    assert "made with temperature not given, and now temperature is 0.5" in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_done(
    stage: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = scripted()
    monkeypatch.setattr(Engine, "load", lambda model, **options: engine)

    def hook() -> None:
        if len(engine.seen) > 20:
            raise KeyboardInterrupt

    engine.hook = hook
    assert run() == INTERRUPTED
    err = capsys.readouterr().err
    assert "interrupted with 1 of 4 units" in err
    assert "the same command goes on from there" in err
    assert main(["eval", "report", "out"]) == 0
    engine.hook = lambda: None
    assert run() == 0
    assert "1 unit of these are done already" in capsys.readouterr().err
    assert len(read()) == 8


def test_failures_are_told(stage: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--methods", "breaks,single") == 0
    err = capsys.readouterr().err
    assert "failed: letters/0 by breaks, seed 0: ZeroDivisionError: by zero" in err
    assert "4 of 4 units · 2 failed" in err


def test_reports_of_several_go_to_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [record(problem, "single", 4, 1.0) for problem in range(2)]
    a, b = made_up(tmp_path / "a", made), made_up(tmp_path / "b", made)
    c = made_up(tmp_path / "c", made, task="jsonl:x/y")
    assert main(["eval", "report", str(a), str(b), str(c), "--to", str(tmp_path / "docs")]) == 0
    written = {path.name for path in (tmp_path / "docs").iterdir()}
    assert written >= {"a-report.md", "b-report.md", "a-passes.svg", "letters-together.svg", "letters-together.png"}
    assert not any(name.startswith("jsonl") for name in written)
    plot = (tmp_path / "docs" / "letters-together.svg").read_text()
    assert "a: single" in plot
    assert "b: single" in plot
    assert not (a / "report.md").exists()
    assert main(["eval", "report", str(a), str(a), "--to", str(tmp_path / "docs")]) == 2
    assert "two of the folders have the same name" in capsys.readouterr().err


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [record(problem, name, 4, float(name == "b")) for problem in range(4) for name in "ab"]
    out = made_up(tmp_path / "x:y", made)
    assert main(["eval", "compare", f"{out}:a", f"{out}:b"]) == 0
    assert "+100.0 (+100 to +100) *" in capsys.readouterr().out
    assert main(["eval", "compare", str(out), str(out)]) == 0
    assert main(["eval", "compare", f"{out}:", str(out)]) == 2
    assert "ends in a colon" in capsys.readouterr().err
    assert main(["eval", "compare", str(tmp_path / "none"), str(out)]) == 2
    assert "there are no results; give a folder" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "list"]) == 0
    out = capsys.readouterr().out
    for name, _ in [*tasks.list_tasks(), *methods_module.list_methods()]:
        assert name.strip() in out


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    assert main(["eval", "report", "out"]) == 2
    assert "needs matplotlib, which is not installed: pip install 'hogwild[eval]'" in capsys.readouterr().err


def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval"]) == 0
    assert "report" in capsys.readouterr().out


def test_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("hogwild.cli.units.time.monotonic", lambda: now[0])
    with units.Units(10, there=0) as count:
        for _ in range(4):
            now[0] += 20
            count.ended(None)
    assert capsys.readouterr().err.splitlines() == [
        "2 of 10 units · about 3 min left",
        "4 of 10 units · about 2 min left",
    ]
    assert [units.duration(seconds) for seconds in (3, 600, 9000)] == ["3 s", "10 min", "2.5 h"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(units, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=80))
    with units.Units(2, there=0) as count:
        count.ended(None)
        count.ended("one: it failed")
    err = capsys.readouterr().err
    assert "2 of 2 units · 1 failed" in err
    assert "failed: one: it failed" in err


def test_a_side_is_a_folder_or_a_method_of_one(tmp_path: Path) -> None:
    assert accuracy._side("out") == (Path("out"), None)
    assert accuracy._side("out:single") == (Path("out"), "single")
