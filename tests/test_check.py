"""``hogwild check gpu`` without a GPU: what it says, what it finds, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hogwild.attention import plain_attention
from hogwild.bench import exactness
from hogwild.bench.exactness import Outcome, cases, check_attention, check_graphs
from hogwild.cli import main
from hogwild.cli.check import exactness_table, summary
from hogwild.errors import ModelUnsupported
from tiny import tiny_engine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactness, "HEADS", ((16, 16),))
    monkeypatch.setattr(exactness, "SHORT", (66, 6))
    monkeypatch.setattr(exactness, "VIEWS", (((0, 1), 2), ((1, 0), 1)))


def use(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Let every path be this function."""
    monkeypatch.setattr(exactness, "choose_attention", lambda path, device, dtype: function)


def test_without_a_gpu_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gpu"]) == 2
    printed = capsys.readouterr()
    assert "no GPU here that PyTorch" in printed.err
    assert "--device cpu runs a few of the checks" in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("device", ["cuda:zero", "mps"])
def test_other_devices_are_refused(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gpu", "--device", device]) == 2
    assert f"--device={device} is not possible" in capsys.readouterr().err


def test_a_model_needs_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gpu", "--device", "cpu", "--model", "any"]) == 2
    assert "--model needs a GPU" in capsys.readouterr().err


def test_every_path_is_checked_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")
    saved = [tmp_path / "found.md", tmp_path / "found.json"]
    assert main(["check", "gpu", "--device", "cpu", *(f"--save={path}" for path in saved)]) == 0
    assert "Summary" in capsys.readouterr().out
    assert "| triton | bfloat16 | 9 | 0 | 0 |" in saved[0].read_text()
    lines = json.loads(saved[1].read_text())["exactness"]
    assert {line["path"] for line in lines} == {"fused", "triton", "plain"}
    assert {line["verdict"] for line in lines} <= {"pass", "left out"}
    passed = [line for line in lines if line["path"] == "triton" and line["verdict"] == "pass"]
    assert len(passed) == 2 * len(list(cases([(16, 16)])))


def test_what_is_wrong_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that forgets the sinks."""
    use(monkeypatch, lambda query, layer, *rest: plain_attention(query, replace(layer, sinks=None), *rest))
    assert main(["check", "gpu", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    failed = [line for line in printed.err.splitlines() if line.endswith("FAIL")]
    assert {line.split(" ", 3)[3] for line in failed} == {"sinks: FAIL", "all at once: FAIL"}


def test_a_crash_is_a_failure_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(query: Any, layer: Any, *rest: Any) -> Any:
        if layer.softcap is not None:
            raise ModelUnsupported("no soft cap here")
        if layer.window is not None:
            raise RuntimeError("out of resource: shared memory\nand a long story")
        return plain_attention(query, layer, *rest)

    use(monkeypatch, crashes)
    found = {outcome.case: outcome for outcome in check_attention(CPU, short=True) if outcome.dtype == "float32"}
    assert (found["soft cap"].verdict, found["soft cap"].reason) == ("left out", "no soft cap here")
    assert (found["window"].verdict, found["window"].reason) == ("FAIL", "RuntimeError: out of resource: shared memory")
    assert found["sinks"].verdict == "pass"


def test_what_is_no_number_is_no_pass() -> None:
    assert Outcome("a", "b", "c", "d", difference=float("nan"), allowed=1.0).verdict == "FAIL"


def test_the_summary_counts() -> None:
    same = Outcome("triton", "float32", "64", "plain", difference=1.0, allowed=4.0)
    outcomes = [same, replace(same, difference=5.0), replace(same, reason="why")]
    assert summary(outcomes).rows == (("triton", "float32", "1", "1", "1", "125%"),)
    assert [row[-1] for row in exactness_table(outcomes).rows] == ["pass", "FAIL", "left out: why"]


def test_graphs_on_a_cpu_are_a_failure_with_a_reason() -> None:
    outcome = check_graphs(tiny_engine(check=False), passes=1)
    assert outcome.verdict == "FAIL"
    assert "graphs are for CUDA" in outcome.reason
