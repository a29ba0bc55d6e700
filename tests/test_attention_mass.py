"""Where rows look: against the model's own weights, against a sum from scratch, and with no change of the output."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fakes import LAYOUTS, ScriptedEngine, _open, encode, prompt_folder, tiny_team_engine
from hogwild import Team, Worker
from hogwild.attention import Gaze, reference_attention
from hogwild.attention.plan import Plan
from hogwild.cache.int8 import unpack
from hogwild.cli import main
from hogwild.engine import Engine, Row
from hogwild.eval.gaze import KINDS, Look, draw, gaze_table, save, watched
from hogwild.geometry import Layer
from hogwild.models.hook import NAME
from hogwild.team.ask import drive
from hogwild.team.events import Event
from tiny import some_tokens, tiny_engine

FAMILIES = ["Llama", "Gemma", "Mistral", "Gemma 2", "Gemma 3", "GPT-OSS", "Phi-3", "GLM-4", "SmolLM3", "DeepSeek V3"]
"""GQA, one KV head, windows, a soft cap, two RoPE bases, sinks, partial and interleaved RoPE, no RoPE, MLA."""


def from_scratch(query: Tensor, layer: Layer, keys: Tensor, plan: Plan) -> list[Tensor]:
    """The weights of each row's last token, then the sink [L + 1], averaged over heads: the sequence written out."""
    found = list[Tensor]()
    for reading, end in zip(plan.readings, plan.bounds[1:], strict=True):
        sequence = list[Tensor]()
        for block, length, start in zip(reading.view, reading.lengths, reading.starts, strict=True):
            for offset in range(length):
                key = unpack(keys[:, block.slots(offset, offset + 1)], torch.float64).double()
                sequence.append(_turn(key, layer, start))
        last = len(sequence) - 1
        turned = _turn(query[:, end - 1 : end].double(), layer, reading.starts[-1])
        scores = (turned * torch.cat(sequence, 1).repeat_interleave(layer.group, 0)).sum(-1) * layer.scale  # [H, L]
        if layer.softcap is not None:
            scores = layer.softcap * torch.tanh(scores / layer.softcap)
        if layer.window is not None:
            scores[:, torch.arange(last + 1) <= last - layer.window] = -torch.inf
        sink = torch.full((layer.heads, 1), -torch.inf) if layer.sinks is None else layer.sinks.double()[:, None]
        weights = torch.cat([scores, sink], 1).exp()
        found.append((weights / weights.sum(1, keepdim=True)).mean(0))
    return found


def _turn(x: Tensor, layer: Layer, offset: int) -> Tensor:
    if layer.rotary is None:
        return x
    return layer.rotary.rotation(torch.tensor([offset]), layer.key_dim, torch.float64, x.device)(x)


class Sums:
    """An attention function that keeps what `from_scratch` gives, layer by layer."""

    def __init__(self) -> None:
        self.layers = list[list[Tensor]]()
        self.plan: Plan | None = None

    def __call__(self, query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
        if plan is not self.plan:
            self.plan, self.layers = plan, []
        self.layers.append(from_scratch(query, layer, keys, plan))
        return reference_attention(query, layer, keys, values, plan)


@pytest.mark.parametrize("family", FAMILIES)
def test_ragged_rows_look_where_a_sum_from_scratch_says(family: str) -> None:
    engine = tiny_engine(family, attention="reference")
    sums = engine.attention = Sums()
    common, a, b, c = (engine.block() for _ in range(4))
    engine.prefill([common], some_tokens(30))
    tokens = some_tokens(14, seed=2)
    rows = [Row([common, b, c, a], tokens[:5]), Row([c, common, a, b], tokens[5:13]), Row([b, a, c], tokens[13:])]
    with engine.watch() as watcher:
        engine.forward(rows)
        engine.forward(rows)
    for place, gaze in enumerate(watcher.last):
        expected = torch.stack([layer[place] for layer in sums.layers])
        found = torch.cat([gaze.weights, gaze.sinks[:, None]], 1)
        assert found.shape == (len(engine.pool.layers), sum(gaze.lengths) + 1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.sum(1), torch.ones(len(found)))
        assert gaze.view == tuple(rows[place].view)
    assert bool((watcher.last[0].sinks > 0).all()) == (family == "GPT-OSS")


@pytest.mark.parametrize("family", ["Llama", "Gemma 3", "Qwen3"])
def test_one_worker_looks_where_the_model_itself_does(family: str) -> None:
    engine = tiny_engine(family)
    tokens, blocks, first = some_tokens(40), [], 0
    with engine.watch() as watcher:
        for count in (20, 1, 11, 8):
            blocks.append(engine.block())
            engine.forward([Row(blocks, tokens[first : first + count])])
            first += count
    (gaze,) = watcher.last
    engine.model.set_attn_implementation("eager")
    with torch.inference_mode():
        attentions = engine.model(input_ids=torch.tensor([tokens]), output_attentions=True, use_cache=False).attentions
    engine.model.set_attn_implementation(NAME)
    theirs = torch.stack([layer[0, :, -1].mean(0) for layer in attentions])
    torch.testing.assert_close(gaze.weights, theirs, rtol=1e-3, atol=1e-5)
    assert gaze.lengths == (20, 1, 11, 8)
    torch.testing.assert_close(gaze.shares(gaze.lengths).sum(1), torch.ones(len(theirs)))


@pytest.mark.parametrize("options", [{"attention": "plain"}, {"kv_dtype": "int8"}, {"dtype": "bfloat16"}])
def test_logits_are_what_they_are_without(options: dict[str, str]) -> None:
    def logits(engine: Engine, watch: bool) -> Tensor:
        a, b = engine.block(), engine.block()
        rows = [Row([a, b], some_tokens(9)), Row([b, a], some_tokens(4, seed=1))]
        if not watch:
            return engine.forward(rows, all_positions=True)
        with engine.watch() as watcher:
            found = engine.forward(rows, all_positions=True)
            assert [gaze.lengths for gaze in watcher.last] == [(4, 9), (9, 4)]
        return found

    engine = tiny_engine("Qwen2", **options)
    function = engine.attention
    assert torch.equal(logits(engine, True), logits(engine, False))
    assert engine.attention is function


def test_runs_must_fill_the_view() -> None:
    gaze = Gaze((), (), torch.full((1, 4), 0.25), torch.zeros(1))
    assert gaze.shares([1, 0, 3]).tolist() == [[0.25, 0, 0.75]]
    with pytest.raises(ValueError, match="runs of 3 tokens, and the view has 4"):
        gaze.shares([1, 2])


def test_nothing_was_seen_before_the_first_pass() -> None:
    with tiny_engine().watch() as watcher:
        assert watcher.last == []


# Teams.


def looked(engine: Engine, folder: Path, **options: object) -> tuple[list[Look], list[Event]]:
    found = list[Look]()
    team = Team(engine, "What now?", prompt=str(prompt_folder(folder)), answer_tokens=4, **options)  # type: ignore[arg-type]
    with engine.watch() as watcher:
        told = list(drive(engine, watched(team, watcher, found.append)))
    return found, told


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_team_writes_the_same_while_it_is_watched(layout: str, tmp_path: Path) -> None:
    engine = tiny_team_engine()
    options = {"workers": 3, "layout": layout, "budget": 20, "snapshots": (10,)}
    found, told = looked(engine, tmp_path, **options)
    plain = list(Team(engine, "What now?", prompt=str(tmp_path), answer_tokens=4, **options).run())  # type: ignore[arg-type]
    written = [[(e.worker, e.token) for e in events if e.kind == "token"] for events in (told, plain)]
    assert written[0] == written[1]
    assert {(look.pass_, look.worker) for look in found} == {(e.pass_, e.worker) for e in told if e.kind == "token"}
    for look in found:
        assert sum(look.shares) == pytest.approx(1, abs=1e-5)
        assert all(sum(layer) == pytest.approx(1, abs=1e-5) for layer in look.layers)
        kinds = dict(zip(KINDS, look.shares, strict=True))
        assert kinds["sinks"] == kinds["private"] == 0
        assert kinds["prompt"] > 0
        assert (kinds["others' steps"] > 0) == (layout != "interleaved")


class Scripted(ScriptedEngine):
    """Computes each pass, and then writes what its script says."""

    def _pass(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        logits = Engine._pass(self, rows, all_positions).clone()
        for row, line in zip(rows, logits, strict=True):
            line[encode("x")[0]] = 1e4
            line[self._next(list(row.own.tokens))] = 2e4
        return logits


@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_become_history(layout: str, tmp_path: Path) -> None:
    engine: Scripted = _open(Scripted, 256, 2048, None)
    engine.steps = {"Alice": ["aaa.\n\n", "bb."], "Bob": ["cccccc.\n\n", "ddddddd."]}
    engine.answer, engine.seen, engine.hook = "", [], lambda: None
    found, told = looked(engine, tmp_path, workers=2, layout=layout, budget=30)
    assert [e.text for e in told if e.kind == "step_finished"][:2] == ["Alice@1:aaa.", "Bob@1:cccccc."]
    alice = [dict(zip(KINDS, look.tokens, strict=True)) for look in found if look.worker == "Alice" and look.step == 2]
    step = len("Alice@1:aaa") + 1  # with the blank line before it
    assert {one["own history"] for one in alice} == {step}
    assert (alice[0]["others' history"], alice[-1]["others' history"]) == (0, len("Bob@1:cccccc") + 1)


def test_kinds_count_the_tokens_that_are_seen(tmp_path: Path) -> None:
    crew = [Worker("Alice", prompt="be brief"), Worker("Bob")]
    found, _ = looked(tiny_team_engine(), tmp_path, workers=crew, budget=12)
    tokens = [dict(zip(KINDS, look.tokens, strict=True)) for look in found if look.worker == "Alice"]
    assert all(one["first token"] == 1 for one in tokens)
    assert all(one["private"] == len("(for Alice: be brief)") for one in tokens)
    assert tokens[0]["own step"] == len("Alice@1:")  # right behind what it alone knows
    assert [one["own step"] for one in tokens] == list(range(len("Alice@1:"), len("Alice@1:") + 12))
    assert tokens[3]["others' steps"] == len("\n\nBob@1:") - 1 + 3  # with the token of this very pass
    assert all(dict(zip(KINDS, look.shares, strict=True))["private"] > 0 for look in found if look.worker == "Alice")
    assert not any(dict(zip(KINDS, look.tokens, strict=True))["private"] for look in found if look.worker == "Bob")


def test_a_full_cache_is_the_teams_to_handle(tmp_path: Path) -> None:
    found, told = looked(tiny_team_engine(pages=14), tmp_path, workers=2, budget=400)
    assert told[-1].kind == "finished"
    assert told[-1].reason in ("cache", "window")
    assert found


def test_what_was_seen_is_kept_and_drawn(tmp_path: Path) -> None:
    found, _ = looked(tiny_team_engine(), tmp_path / "prompts", workers=2, budget=6)
    for name in ("a.jsonl", "a.csv"):
        save(found, tmp_path / name)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["pass"] for line in lines] == [look.pass_ for look in found]
    assert len(lines[0]["layers"]["prompt"]) == 2
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(float(rows[0][kind]) for kind in KINDS) == pytest.approx(1, abs=1e-4)
    draw(found, "a team", tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "own step" in drawn or "path" in drawn
    table = gaze_table(found, "where they looked")
    assert [row[:2] for row in table.rows] == [("Alice", "6"), ("Bob", "6")]


def test_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for wrong in (["--layout", "round"], ["--budget", "0"], ["--out", str(file)], ["--workers", "17"]):
        assert main(["eval", "attention", "a task", "--out", str(tmp_path / "out"), *wrong]) == 2
        assert wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
