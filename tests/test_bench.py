"""Benchmarks on tiny models: what is counted, what is timed, and what is said of what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hogwild.bench.limit import Reads, cache_bytes, pass_reads, weight_bytes
from hogwild.bench.machine import Machine, peak_memory, read_bandwidth, reset_peak
from hogwild.bench.passes import PassOptions, bench_passes
from hogwild.bench.profile import OTHER, Stopwatch, profile
from hogwild.bench.report import pass_json, pass_table, profile_table
from hogwild.bench.settings import Setting, combinations
from hogwild.bench.spread import Spread, ratios
from hogwild.bench.workload import OPENING, Workload, check_room, grow, prefill
from hogwild.cli import main
from hogwild.engine import Engine, Row
from hogwild.errors import CacheFull, OptionError, WindowError
from tiny import VOCAB, WINDOW, tiny_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine("Llama", check=False)


def test_the_spread_of_measurements() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0, 1)
    assert Spread.of(range(11)) == Spread(5.0, 1.0, 9.0, 11)
    assert ratios([2.0, 6.0, 20.0], [1.0, 2.0, 4.0]) == Spread.of([2.0, 3.0, 5.0])


def test_the_machine_is_described() -> None:
    machine = Machine.here()
    assert machine.threads == torch.get_num_threads()
    assert machine.memory > 0
    assert "torch" in machine.versions
    assert machine.commit in str(machine)
    assert machine.cpu in str(machine)


def test_bandwidth_and_peak_memory() -> None:
    assert 1e8 < read_bandwidth(size=1 << 22) < 1e13
    device = torch.device("cpu")
    reset_peak(device)
    before = peak_memory(device)
    kept = torch.ones(1 << 23)  # 32 MB, written
    assert peak_memory(device) >= before + kept.numel() * 2


def test_weights_are_counted_as_they_are_read(engine: Engine) -> None:
    parameters = sum(parameter.numel() for parameter in engine.model.parameters()) * 4
    table = VOCAB * 64 * 4
    frequencies = sum(buffer.numel() for buffer in engine.model.buffers()) * 4
    for tokens in (1, 8):
        gathered = tokens * 64 * 4
        assert weight_bytes(engine.model, tokens) == parameters - table + gathered + frequencies
    assert weight_bytes(engine.model, 10 * VOCAB) == parameters + frequencies, "a table is not larger than itself"


def test_a_table_that_the_head_shares_is_counted_once(engine: Engine) -> None:
    tied = torch.nn.ModuleList([torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False)])
    tied[1].weight = tied[0].weight
    assert weight_bytes(tied, 3) == 10 * 4 * 4


def test_the_cache_is_counted_once_for_all_workers(engine: Engine) -> None:
    common, a, b = (engine.block() for _ in range(3))
    engine.prefill([common], list(range(100)))
    token = 4 * 2 * (16 + 16) * 4  # layers, KV heads, key and value, float32
    rows = [Row([common, b, a], [1]), Row([common, a, b], [2])]
    assert cache_bytes(engine.pool, rows) == (100 + 1 + 1) * token
    assert pass_reads(engine, rows) == Reads(weight_bytes(engine.model, 2), 102 * token)
    assert Reads(6, 4).seconds(5.0) == 2.0


def test_a_window_bounds_what_is_read() -> None:
    engine = tiny_engine("Mistral", check=False)
    common, a, b = (engine.block() for _ in range(3))
    engine.prefill([common], list(range(100)))
    engine.forward([Row([common, a], [1, 2]), Row([common, b], [3, 4, 5])])
    token = 4 * 2 * (16 + 16) * 4
    assert cache_bytes(engine.pool, [Row([common, a], [1])]) == WINDOW * token
    seen_of_common = WINDOW - 3  # by the row whose own block is the shorter one, 3 tokens with the new one
    assert cache_bytes(engine.pool, [Row([common, a], [1]), Row([common, b], [1])]) == (seen_of_common + 3 + 4) * token


def test_a_stopwatch_counts_each_second_once() -> None:
    now = iter([0.0, 1.0, 4.0, 5.0, 6.0, 10.0]).__next__
    watch = Stopwatch(now)
    inner = watch.wrap("inner", lambda: None)
    with watch.time("outer"):  # from 0 to 10
        inner()  # from 1 to 4
        inner()  # from 5 to 6
    assert watch.seconds == {"inner": 4.0, "outer": 6.0}
    assert watch.calls == {"inner": 2, "outer": 1}


def test_workers_write_and_forget(engine: Engine) -> None:
    source = prefill(engine, 40, seed=1)
    common = engine.block()
    grow(common, source.block, 100)
    assert common.tokens == (source.block.tokens * 3)[:100]
    load = Workload(engine, [common], 3, seed=0)
    first = [row.tokens for row in load.rows]
    assert all(len(row.view) == 4 and row.view[0] is common for row in load.rows)
    assert len(load.seconds(3)) == 3
    assert [row.tokens for row in load.rows] == first
    assert {len(row.own) for row in load.rows} == {OPENING}
    load.free()
    source.block.free()
    common.free()
    assert engine.pool.used_pages == 0


def test_independent_workers_have_a_context_each(engine: Engine) -> None:
    copies = [engine.block() for _ in range(2)]
    for copy in copies:
        engine.prefill([copy], [1, 2, 3])
    load = Workload(engine, copies, 2, seed=0, together=False)
    assert [row.view[0] for row in load.rows] == copies
    assert all(len(row.view) == 2 for row in load.rows)


def test_a_profile_adds_up(engine: Engine) -> None:
    common = engine.block()
    engine.prefill([common], list(range(64)))
    load = Workload(engine, [common], 2, seed=0)
    parts = {part.name: part for part in profile(load, 2)}
    linear = 4 * 7 + 1
    assert parts["linear"].calls == linear
    assert parts["attention"].calls == 4
    assert parts["sampling"].calls == 2
    assert parts[OTHER].calls == 1
    assert {"norm", "rotation", "plan", "activation"} <= set(parts)
    assert all(part.seconds >= 0 for part in parts.values())
    assert "forward" not in vars(engine.model.lm_head), "nothing stays wrapped"


def test_the_share_is_that_of_each_round(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([1e9, 3e9, 2e9, 4e9])
    monkeypatch.setattr("hogwild.bench.passes.read_bandwidth", lambda device: next(found))
    monkeypatch.setattr(Workload, "seconds", lambda load, passes: [0.5] * passes)
    options = PassOptions(workers=(1,), contexts=(16,), rounds=3, passes=2, prefill=16)
    (one,) = bench_passes(engine, "float32", options, print)
    assert (one.bandwidth, one.limit) == (2e9, one.reads.seconds(2e9))
    assert (one.share.median, one.share.count) == (one.limit / 0.5, 3)
    (one,) = bench_passes(engine, "float32", replace(options, rounds=1), print)
    assert one.share.median == one.reads.seconds(4e9) / 0.5


def test_what_does_not_fit_is_left_out_in_one_line(engine: Engine) -> None:
    with pytest.raises(WindowError, match="more than the model's 512 positions"):
        check_room(engine, 512, 1, 4)
    with pytest.raises(CacheFull):
        check_room(engine, 256, 8, 4, copies=engine.pool.total_pages)
    lines: list[str] = []
    options = PassOptions(workers=(1, 2), contexts=(16, 495, 600), rounds=2, passes=2, prefill=32, profile=True)
    figures = list(bench_passes(engine, "float32", options, lines.append))
    assert [(figure.context, figure.workers) for figure in figures] == [(16, 1), (16, 2), (495, 1)]
    assert [line for line in lines if "left out" in line and "495 from 2 workers on" in line]
    assert len([line for line in lines if "left out" in line]) == 2
    assert engine.pool.used_pages == 0
    one, two = figures[0], figures[1]
    assert one.speedup == Spread(1.0, 1.0, 1.0, 2)
    assert two.seconds.count == 4
    assert two.tokens_per_second == 2 / two.seconds.median
    assert two.share.count == 2
    found = json.loads(pass_json(Machine.here(), "tiny", options, figures))
    assert found["passes"][1]["workers"] == 2
    assert found["machine"]["threads"] == torch.get_num_threads()
    assert len(pass_table(figures, "t").rows) == len(profile_table(figures, "t").rows) == 3
    markdown = pass_table(figures, "t").markdown().splitlines()
    assert len({line.count("|") for line in markdown[2:]}) == 1


def test_settings() -> None:
    settings = list(combinations([None], ["none", "int8"], [None], ["plain", "fused"]))
    assert [str(setting) for setting in settings] == ["plain", "fused", "int8 plain", "int8 fused"]
    assert str(Setting("bfloat16", kv_dtype="int8")) == "bfloat16 kv int8"
    assert str(Setting()) == "as stored"
    every = list(combinations(["bfloat16", "float32"], ["none", "int8"], [None], [None]))
    assert [str(setting) for setting in every] == ["bfloat16", "int8", "float32", "int8 float32"]
    for name in ("workers", "contexts", "rounds"):
        with pytest.raises(OptionError, match=name):
            PassOptions(**{name: (0,) if name != "rounds" else 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "1,x"], "whole numbers"),
        (["--save", "x.txt"], "ends in .json or .md"),
        (["--save", "nowhere/x.md"], "--save"),
        (["--workers", "0"], "workers"),
        (["--model", "nowhere/at-all/x"], "no such"),
    ],
)
def test_bad_options_are_one_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pass", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert words in lines[-1]
    assert lines[-1].startswith("hogwild: error:")


def test_the_command(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Setting, "load", lambda *_args, **_options: engine)
    saved = [tmp_path / "x.json", tmp_path / "x.md"]
    small = ["--workers", "1,2", "--context", "16", "--rounds", "1", "--passes", "1", "--prefill", "16", "--profile"]
    assert main(["bench", "pass", *small, "--save", str(saved[0]), "--save", str(saved[1])]) == 0
    printed = capsys.readouterr().out
    assert "float32" in printed
    assert "Where a pass goes" in printed
    assert "commit" in printed
    assert [line["workers"] for line in json.loads(saved[0].read_text())["passes"]] == [1, 2]
    assert "| float32 | 16 | 2 |" in saved[1].read_text()
    assert main(["bench", "pass", *small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "smollm2-135m-instruct"
