"""The guard fails when it must, the bars say what was wanted, and the page is written from what was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import benchmarks
import check_speed
from hogwild.bench import guard, suite
from hogwild.bench.guard import verdict
from hogwild.bench.perplexity import engine_logits, perplexity, reference_tokens
from hogwild.bench.settings import Setting
from hogwild.bench.spread import Spread
from hogwild.bench.suite import Bar, Models, Section
from hogwild.bench.turns import take_turns
from hogwild.bench.workload import random_tokens
from hogwild.engine import Engine
from hogwild.errors import OptionError
from hogwild.models.load import Loaded
from tiny import VOCAB, tiny_engine, tiny_model

BASELINE = {"workers": 3.0, "transformers": 4.0}


@pytest.mark.parametrize(
    ("measured", "problems"),
    [
        ({"workers": 3.0, "transformers": 4.0}, []),
        ({"workers": 9.0, "transformers": 4.0}, []),
        ({"workers": 2.41, "transformers": 3.21}, []),
        ({"workers": 2.39, "transformers": 4.0}, ["workers: 2.39, more than 20% below 3.00"]),
        ({"workers": 0.0, "transformers": 3.1}, ["workers: 0.00", "transformers: 3.10, more than 20% below 4.00"]),
        ({"workers": math.nan, "transformers": 4.0}, ["workers: nan"]),
        ({"workers": 3.0}, ["transformers: not measured, it was 4.00"]),
        ({**BASELINE, "new": 1.0}, ["new: 1.00, and there is no figure to compare it with"]),
    ],
)
def test_the_guard_fails_when_a_ratio_is_worse(measured: dict[str, float], problems: list[str]) -> None:
    found = verdict(measured, BASELINE)
    assert len(found) == len(problems)
    assert all(line.startswith(begin) for line, begin in zip(found, problems, strict=True))


def speed(monkeypatch: pytest.MonkeyPatch, baseline: Path, runs: list[float], *options: str) -> int:
    """Run scripts/check_speed.py, which measures these figures for ``workers`` in turn."""
    figures, engine = iter(runs), tiny_engine("Llama", check=False)
    monkeypatch.setattr(check_speed, "Engine", SimpleNamespace(load=lambda _: engine))
    monkeypatch.setattr(check_speed, "measure", lambda *_: {"workers": Spread.of([next(figures)])})
    monkeypatch.setattr("sys.argv", ["check_speed.py", "--baseline", str(baseline), *options])
    return check_speed.main()


def test_the_job_fails_after_two_bad_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tmp_path / "speed.json"
    assert speed(monkeypatch, baseline, [3.0, 3.0]) == 1, "no baseline is no success"
    assert speed(monkeypatch, baseline, [3.0], "--write") == 0
    assert speed(monkeypatch, baseline, [2.9]) == 0
    assert speed(monkeypatch, baseline, [2.0, 2.8]) == 0
    capsys.readouterr()
    assert speed(monkeypatch, baseline, [2.0, 2.1]) == 1
    assert "workers: 2.10, more than 20% below 3.00" in capsys.readouterr().out


def test_a_processor_without_bfloat16_has_a_baseline_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = tmp_path / "speed.json"
    for fast, figure in ((True, 3.0), (False, 2.0)):
        monkeypatch.setattr(check_speed, "fast_bfloat16", lambda fast=fast: fast)
        assert speed(monkeypatch, baseline, [figure], "--write") == 0
        assert speed(monkeypatch, baseline, [2.0, 2.0]) == (1 if fast else 0)


def test_the_guard_measures_every_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("Llama")
    model.config.max_position_embeddings = 4352
    engine = Engine.load(model, check=False, kv_memory=1 << 26)
    monkeypatch.setattr(guard, "load_model", lambda *_args, **_options: Loaded("x", tiny_model("Llama"), None, None))
    lines: list[str] = []
    found = guard.measure(engine, "x", 1, 1, lines.append)
    assert set(found) == {"workers", "context", "sharing", "transformers"} == {line.split(":")[0] for line in lines}
    assert all(spread.median > 0 for spread in found.values())
    assert engine.pool.used_pages == 0


def test_turns_are_taken() -> None:
    calls: list[str] = []

    class One:
        def __init__(self, name: str) -> None:
            self.name = name

        def seconds(self, passes: int) -> list[float]:
            calls.append(self.name)
            return [1.0, 2.0, 9.0][:passes]

    assert take_turns([One("a"), One("b")], 2, 3) == [[2.0, 2.0], [2.0, 2.0]]
    assert calls == ["a", "b", "a", "b"]


def test_perplexity_is_that_of_the_logits() -> None:
    def uniform(tokens: Any) -> torch.Tensor:
        return torch.zeros(len(tokens), 50)

    assert perplexity(uniform, [1, 2, 3, 4, 5], window=2) == pytest.approx(50)  # the last window has no pair
    engine = tiny_engine("Llama", check=False)
    tokens = random_tokens(engine, 40, seed=0)
    assert 1 < perplexity(engine_logits(engine), tokens, window=16) < VOCAB**3
    assert engine.pool.used_pages == 0


def test_the_text_is_long_enough_or_refused() -> None:
    def words(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}

    assert len(reference_tokens(words, 500)) == 500
    with pytest.raises(OptionError, match="ask for fewer"):
        reference_tokens(words, 10**7)


def test_bars_are_met_from_their_own_side() -> None:
    assert Bar(1, "x", 3.0, 3.0).met
    assert not Bar(1, "x", 2.9, 3.0).met
    assert Bar(4, "x", 2.0, 2.0, "at most").met
    assert not Bar(4, "x", 2.1, 2.0, "at most").met


@pytest.fixture
def tiny_suite(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Every section on tiny models that know 17,000 positions, with few rounds: who is called with what."""

    def engine(*_args: Any, **_options: Any) -> Engine:
        model = tiny_model("Llama")
        model.config.max_position_embeddings = 17_000
        return Engine.load(model, check=False, kv_memory=1 << 27)

    real = Engine.load
    monkeypatch.setattr(Setting, "load", engine)
    monkeypatch.setattr(
        Engine, "load", lambda model, **options: engine() if isinstance(model, str) else real(model, **options)
    )
    loaded = Loaded("tiny", tiny_model("Llama"), None, None)
    for module in ("suite", "peers"):
        monkeypatch.setattr(f"hogwild.bench.{module}.load_model", lambda *_args, **_options: loaded)
    return Models("large", "small", Path("nowhere.gguf"))


@pytest.mark.parametrize(
    ("name", "bars"), [("limit", [1] * 7), ("contexts", [4, 4]), ("prompts", [6, 6, 6]), ("load", [7])]
)
def test_a_section(tiny_suite: Models, name: str, bars: list[int]) -> None:
    lines: list[str] = []
    section: Section = suite.SECTIONS[name](tiny_suite, lines.append)
    assert [bar.number for bar in section.bars] == bars
    assert all(bar.value > 0 for bar in section.bars)
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    assert lines


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: eval)")
    written = ["--page", str(tmp_path / "b.md")]
    monkeypatch.setattr(benchmarks, "read_bandwidth", lambda: 3e10)
    called: list[str] = []

    def section(name: str) -> Any:
        def run(_models: Models, report: Any) -> Section:
            called.append(name)
            one = suite.Standing(f"hogwild {name}", "how", 4, 64, Spread.of([0.1]), (40.0,))  # type: ignore[attr-defined]
            return Section((Bar(2, f"bar of {name}", 3.0, 4.0),), (suite.Table("t", ("a",), (("b",),)),), (one,))  # type: ignore[attr-defined]

        run.__doc__ = f"What {name} is."
        return run

    monkeypatch.setattr(benchmarks, "SECTIONS", {"one": section("one"), "two": section("two")})
    monkeypatch.setattr("sys.argv", ["benchmarks.py", *written, "--only", "one"])
    assert benchmarks.main() == 0
    page = (tmp_path / "b.md").read_text()
    assert "| 2 | bar of one | 3.00 | at least 4 | **no** |" in page
    assert "Not measured yet: two." in page
    assert "30.0 GB/s read; seed 0" in page
    assert "<svg" in (tmp_path / "b-one.svg").read_text()
    assert "](b-one.svg)" in page
    monkeypatch.setattr("sys.argv", ["benchmarks.py", *written])
    assert benchmarks.main() == 0
    assert called == ["one", "two"], "what is done for this commit is not done again"
    assert "<svg" in (tmp_path / "b-two.svg").read_text()
    assert "- hogwild two: how" in (tmp_path / "b.md").read_text()
    assert set(json.loads((tmp_path / "b.json").read_text())) == {"one", "two"}
