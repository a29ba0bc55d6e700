"""Comparisons: the baseline is exact, the peers do the work they are timed for, and ratios are those of pairs."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from hogwild.attention import reference_attention
from hogwild.bench import compare as comparing
from hogwild.bench.compare import LineUp, Standing, compare
from hogwild.bench.contestants import Contestant, Copied, Separate, Team
from hogwild.bench.copied import copied_attention
from hogwild.bench.llama import LlamaPeer
from hogwild.bench.machine import Machine
from hogwild.bench.peers import Absent, TransformersPeer, VllmPeer, find_peer
from hogwild.bench.report import compare_json, compare_table, notes_table
from hogwild.bench.settings import Setting
from hogwild.bench.spread import Spread
from hogwild.bench.workload import prefill
from hogwild.cli import main
from hogwild.engine import Block, Engine, Row
from hogwild.engine.selftest import largest_difference
from hogwild.errors import ModelNotFound, OptionError
from tiny import some_tokens, tiny_engine, tiny_model


def standing(name: str, rates: list[float], workers: int = 4) -> Standing:
    return Standing(name, "", workers, 64, Spread.of([workers / rate for rate in rates]), tuple(rates))


FAMILIES = ["Llama", "Mistral", "Gemma 2", "GPT-OSS", "Phi-3", "GLM-4", "SmolLM3", "DeepSeek V3", "YaRN scaling"]


@pytest.mark.parametrize(("family", "kv"), [*((family, None) for family in FAMILIES), ("Llama", "int8")])
def test_the_copied_baseline_is_exact(family: str, kv: str | None) -> None:
    engine = tiny_engine(family, check=False, kv_dtype=kv)
    common, a, b, c = (engine.block() for _ in range(4))
    engine.prefill([common], some_tokens(40))
    for turn, (i, j, k) in enumerate([(5, 7, 1), (1, 1, 1), (1, 8, 2)]):
        t = some_tokens(i + j + k, seed=turn + 1)
        views: list[list[Block]] = [[common, b, c, a], [c, common, a, b], [b, a, c]]
        rows = [Row(*row) for row in zip(views, (t[:i], t[i : i + j], t[i + j :]), strict=True)]
        before = [len(row.own) for row in rows]
        engine.attention = reference_attention
        theirs = engine.forward(rows, all_positions=True)
        for row, length in zip(rows, before, strict=True):
            row.own.truncate(length)
        engine.attention = copied_attention
        # float32 sums of a few dozen terms, in another order than the reference's
        assert largest_difference(engine.forward(rows, all_positions=True), theirs) < 1e-5


def test_everyone_does_the_work_in_turn() -> None:
    engine = tiny_engine("Llama", check=False)
    source = prefill(engine, 16, seed=0)
    ways: list[Contestant] = [kind(kind.__name__, engine, source, 0) for kind in (Team, Separate, Copied)]
    lines: list[str] = []
    before = engine.attention
    found = list(compare(ways, [40, 600], [1, 3], 2, 2, lines.append))
    assert [(one.name, one.workers, one.context) for one in found] == [
        (name, workers, 40) for workers in (1, 3) for name in ("Team", "Separate", "Copied")
    ]
    assert all(len(one.rates) == 2 and one.seconds.count == 4 for one in found)
    assert len([line for line in lines if "600" in line and "left out" in line]) == 6
    assert engine.attention is before
    source.block.free()
    assert engine.pool.used_pages == 0, "everyone cleans up"


def test_ratios_are_of_pairs() -> None:
    ours, theirs = standing("hogwild x", [10.0, 40.0, 20.0]), standing("other", [5.0, 10.0, 20.0])
    assert ours.over(theirs) == Spread.of([2.0, 4.0, 1.0])
    assert ours.tokens_per_second == 20.0
    with pytest.raises(OptionError, match="same rounds"):
        ours.over(standing("other", [1.0, 1.0, 1.0], workers=2))
    table = compare_table([ours, theirs], "t")
    assert table.columns[-1] == "hogwild x over it"
    assert table.rows[1][-1].startswith("2.00")
    assert [row[0] for row in notes_table([ours, theirs, ours]).rows] == ["hogwild x", "other"]
    assert json.loads(compare_json(Machine.here(), "m", [ours]))["standings"][0]["tokens_per_second"] == 20.0


@pytest.mark.parametrize("family", ["Llama", "Mistral"])
def test_transformers_generates_behind_the_context(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(family)
    peer = TransformersPeer(model, seed=0)
    peer.prepare(50, 3)
    shapes: list[tuple[int, ...]] = []
    model.model.register_forward_hook(
        lambda _module, _args, options, _output: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    for _ in range(2):
        shapes.clear()
        assert len(peer.seconds(4)) == 4
        assert shapes == [(3, 1)] * 5, "one token for each sequence: the context is in the cache"
        assert {len(layer.keys) for layer in peer._cache.layers} == {3}
    if family == "Llama":
        assert {layer.keys.shape[2] for layer in peer._cache.layers} == {49}
    peer.release()


def test_absent_peers_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("llama.cpp", "vllm"):
        absent = find_peer(name, "m", None, None, 0)
        assert isinstance(absent, Absent)
        assert "not installed" in absent.reason
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    absent = find_peer("llama.cpp", "m", None, None, 0)
    assert isinstance(absent, Absent)
    assert "no GGUF file" in absent.reason
    with pytest.raises(OptionError, match="unknown"):
        find_peer("other", "m", None, None, 0)
    with pytest.raises(OptionError, match="unknown"):
        LineUp("m", (Setting(),), baselines=("other",))
    with pytest.raises(ModelNotFound, match="no such GGUF"):
        LlamaPeer(Path("nowhere.gguf"), 0)


def test_vllm_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM is installed nowhere here: this checks what it is told, not that it obeys."""
    told: list[tuple[int, int]] = []

    class Engine:
        def __init__(self, **options: object) -> None:
            assert options["enable_prefix_caching"] is True

        def generate(self, prompts: list[dict[str, list[int]]], settings: dict[str, int], use_tqdm: bool) -> None:
            told.append((len(prompts), settings["max_tokens"]))
            assert {len(prompt["prompt_token_ids"]) for prompt in prompts} == {20}

    monkeypatch.setitem(sys.modules, "vllm", types.SimpleNamespace(LLM=Engine, SamplingParams=dict))
    peer = VllmPeer("m", None, 0)
    peer.prepare(20, 3)
    assert len(peer.seconds(4)) == 4
    assert told == [(3, 1), (3, 1), (3, 5)]


def test_llama_cpp_continues_the_context_in_every_sequence() -> None:
    pytest.importorskip("llama_cpp", reason="llama.cpp's Python package is not installed (extra: peers)")
    path = Path.home() / ".cache" / "hogwild-models" / "smollm2-135m.gguf"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    peer = LlamaPeer(path, 0)
    peer.prepare(70, 2)
    assert len(peer.seconds(2)) == len(peer.seconds(2)) == 2
    logits = peer.logits([5, 6, 7])
    assert logits.shape == (3, peer.vocab_size)
    assert np.isfinite(logits).all()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine: Engine = tiny_engine("Llama", check=False)
    monkeypatch.setattr(Setting, "load", lambda *_args, **_options: engine)
    monkeypatch.setattr(comparing, "find_peer", lambda name, *_: Absent(name, f"{name} is left out: no"))
    monkeypatch.setattr(comparing, "SOURCE_TOKENS", 16)
    names = ["x.json", "x.md"] + (["x.svg", "x.png"] if _has("matplotlib") else [])
    saves = [word for name in names for word in ("--save", str(tmp_path / name))]
    small = ["--context", "30", "--workers", "2", "--rounds", "1", "--passes", "1", "--peers", "vllm"]
    assert main(["bench", "compare", *small, *saves]) == 0
    printed = capsys.readouterr()
    assert "hogwild float32 over it" in printed.out
    assert "vllm is left out" in printed.err
    found = json.loads((tmp_path / "x.json").read_text())["standings"]
    assert [one["name"] for one in found] == ["hogwild float32", "separate", "copied"]
    assert "| copied | 30 | 2 |" in (tmp_path / "x.md").read_text()
    if _has("matplotlib"):
        assert (tmp_path / "x.svg").read_text().count("<svg") == 1
        assert (tmp_path / "x.png").read_bytes()[1:4] == b"PNG"


def test_a_picture_needs_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["bench", "compare", "--save", "x.svg"]) == 2
    assert "hogwild[eval]" in capsys.readouterr().err


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def test_padding_does_not_reach_a_result() -> None:
    """A short view beside a long one: the padded keys and tokens are seen by nobody."""
    engine = tiny_engine("Llama", check=False)
    long, a, b = (engine.block() for _ in range(3))
    engine.prefill([long], some_tokens(100))
    engine.attention = copied_attention
    together = engine.forward([Row([long, a], [1, 2, 3]), Row([b], [4])])
    a.truncate(0)
    b.truncate(0)
    alone = torch.cat([engine.forward([Row([long, a], [1, 2, 3])]), engine.forward([Row([b], [4])])])
    assert largest_difference(together, alone) < 1e-5
