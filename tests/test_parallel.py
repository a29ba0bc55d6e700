"""Tensor parallelism: two processes that share a model write what one process writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import make_tokenizer, tiny_llama
from hogwild import Engine
from hogwild.cli import main
from hogwild.errors import ModelUnsupported, OptionError
from hogwild.models.parallel import ALONE, Ranks, check_parallel, launched
from ranks import observe
from tiny import tiny_config, tiny_model

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Llama with 4 query heads and 2 KV heads, and its tokenizer."""
    return saved(tmp_path_factory.mktemp("model"))


def saved(path: Path, positions: int = 2048) -> str:
    tiny_llama(positions).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return str(path)


def torchrun(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_write_what_one_writes(folder: str, tmp_path: Path) -> None:
    process = torchrun(str(TESTS / "ranks.py"), folder, str(tmp_path / "seen"))
    told = process.communicate(timeout=240)[1]
    assert process.returncode == 0, told
    ranks: list[dict[str, Any]] = [json.loads((tmp_path / f"seen.{rank}.json").read_text()) for rank in range(2)]
    alone, exact = (observe(folder, dtype, tensor_parallel=False) for dtype in ("float32", "float64"))

    assert ranks[0] == ranks[1]  # the logits too, to the last bit: both ranks draw from the same numbers
    assert ranks[0]["heads"] == [[2, 1]] * 2
    assert alone["heads"] == [(4, 2)] * 2
    assert ranks[0]["pages"] == 2 * alone["pages"]  # half of the KV heads each, in as much memory
    for way in ("greedy", "drawn"):
        assert ranks[0][way] == [list(one) for one in alone[way]]
    ours, one, true = (torch.tensor(seen["logits"], dtype=torch.float64) for seen in (ranks[0], alone, exact))
    # Two ranks add the same numbers in another order. That costs rounding of the size that float32 costs one process,
    # which the distance from float64 shows; 4 for the luck of a largest difference.
    assert (ours - true).abs().max() <= 4 * (one - true).abs().max()


@pytest.mark.slow
def test_an_error_on_one_rank_ends_all(folder: str, tmp_path: Path) -> None:
    process = torchrun(str(TESTS / "ranks.py"), folder, str(tmp_path / "seen"), "--fail")
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "rank 1 alone is out of memory" in told


@pytest.mark.slow
def test_ctrl_c_stops_all_ranks_after_the_same_pass(tmp_path: Path) -> None:
    folder = saved(tmp_path, positions=1 << 16)  # room for more passes than are done before the signal comes
    process = torchrun(
        "-m", "hogwild", "run", "Say hello.", "-m", folder, "--budget", "60000", "--json", "--answer", "number"
    )
    assert process.stdout is not None
    lines = list[str]()
    for line in process.stdout:
        lines.append(line)
        if len(lines) == 20:
            process.send_signal(signal.SIGINT)  # torchrun hands it on to both, at times of its own
    told = process.communicate(timeout=120)[1]
    events = [json.loads(line) for line in lines]
    assert [event["kind"] for event in events].count("started") == 1, "only the first rank prints"
    assert events[-1]["kind"] == "finished", (events[-1], told)
    assert events[-1]["reason"] == "stopped"


def test_heads_that_do_not_divide_are_named() -> None:
    with pytest.raises(ModelUnsupported, match="3 processes .num_attention_heads is 4, num_key_value_heads is 2"):
        check_parallel(tiny_config("Llama"), Ranks(0, 3), "cpu")


def test_a_model_without_a_plan_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="persimmon: transformers has no tensor parallel plan"):
        check_parallel(tiny_config("Persimmon"), Ranks(0, 2), "cpu")


def test_a_device_that_is_not_the_machines_is_refused() -> None:
    with pytest.raises(OptionError, match="device is 'xpu'"):
        check_parallel(tiny_config("Llama"), Ranks(0, 2), "xpu")


def test_tensor_parallel_needs_torchrun_and_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched() is ALONE
    with pytest.raises(OptionError, match="start the program with torchrun"):
        Engine.load("somewhere", tensor_parallel=True)
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match="give a path or a name"):
        Engine.load(tiny_model("Llama"), tensor_parallel=True)


def test_only_the_first_rank_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["--version"]) == 0
    assert main(["run", "Say hello.", "--workers", "99"]) == 2
    assert capsys.readouterr() == ("", "")
