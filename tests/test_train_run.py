"""Training: the loss falls, a run that was cut off goes on as if it had not been, adapters are merged at load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import VOCAB, default_tokenizer, model_folder, tiny_llama
from hogwild import cli, solve
from hogwild.api import choose_adapter
from hogwild.engine import Engine, Row
from hogwild.engine.selftest import largest_difference
from hogwild.errors import HogwildError, ModelCorrupt, ModelNotFound, ModelUnsupported, OptionError
from hogwild.models.adapter import CONFIG, TEAM, WEIGHTS, merge, read_adapter
from hogwild.team.events import StepFinished, StepStarted
from hogwild.train.checkpoint import checkpoints
from hogwild.train.forward import pack, trace_loss
from hogwild.train.measure import Comparison, Run, compare
from hogwild.train.recorder import Recorder
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.simulate import Players, simulate
from hogwild.train.tasks import CASES, draw_case, draw_task, read_mix
from hogwild.train.trace import save_traces
from hogwild.train.trainer import Recipe, Trainer, packs, read_log

MIX = """
[kinds]
first = 1
[workers]
1 = 1
2 = 2
[layouts]
combined = 1
[prompts]
short = 1
[task]
parts = [2, 3]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and a mix of tiny tasks beside it."""
    folder = model_folder(tmp_path_factory.mktemp("models"))
    (folder.parent / "mix.toml").write_text(MIX)
    return folder


def recipe(folder: Path, **options: Any) -> Recipe:
    plain = {"data": str(folder.parent / "mix.toml"), "dtype": "float32", "steps": 4, "batch": 2, "warm_up": 1}
    plain |= {"lora_rank": 0, "rate": 5e-3, "eval_every": 0, "save_every": 2}
    return Recipe(str(folder), **{**plain, **options})


def lora(folder: Path, **options: Any) -> Recipe:
    pytest.importorskip("peft", reason="LoRA is trained through peft: pip install 'hogwild[train]'")
    return recipe(folder, lora_rank=4, lora_alpha=8, **options)


def test_the_loss_falls(folder: Path, tmp_path: Path) -> None:
    lines = list(Trainer(recipe(folder, steps=12), tmp_path / "out").run())
    losses = [line["loss"] for line in lines]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert read_log(tmp_path / "out" / "log.jsonl") == lines
    assert lines[-1]["rate"] < lines[2]["rate"] == 5e-3


def test_loras_loss_falls_and_nothing_else_changes(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(lora(folder, steps=12, rate=2e-2), tmp_path / "out")
    frozen = {name: p.clone() for name, p in trainer.engine.model.named_parameters() if not p.requires_grad}
    losses = [line["loss"] for line in trainer.run()]
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    after = dict(trainer.engine.model.named_parameters())
    assert frozen
    assert all(torch.equal(after[name], before) for name, before in frozen.items())


@pytest.mark.parametrize("kind", [recipe, lora])
def test_a_run_that_was_cut_off_goes_on(folder: Path, tmp_path: Path, kind: Any) -> None:
    whole = Trainer(kind(folder), tmp_path / "whole")
    list(whole.run())
    cut: Iterator[dict[str, Any]] = Trainer(kind(folder), tmp_path / "cut").run()
    for _ in range(3):  # the checkpoint is that of step 2: step 3 is lost
        next(cut)
    again = Trainer(kind(folder), tmp_path / "cut")
    assert again.step == 2
    list(again.run())
    for name, weight in whole.trained.parameters.items():
        assert torch.equal(weight, again.trained.parameters[name])
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("whole", "cut")]
    losses = [[line["loss"] for line in log] for log in logs]
    assert losses[0] == losses[1]
    assert [path.name for path in checkpoints(tmp_path / "cut")] == ["checkpoint-000004"]


def test_a_run_with_other_settings_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    list(Trainer(recipe(folder, steps=2), tmp_path).run())
    assert Trainer(recipe(folder, steps=9), tmp_path).step == 2
    with pytest.raises(OptionError, match="other settings"):
        Trainer(recipe(folder, steps=2, rate=1e-4), tmp_path)
    (checkpoints(tmp_path)[-1] / "state.json").write_text("{")
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        Trainer(recipe(folder, steps=9), tmp_path)


def test_an_adapter_is_merged_at_load(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(lora(folder, rate=2e-2), tmp_path)
    list(trainer.run())
    plain, merged = Engine.load(folder), Engine.load(folder, adapter=tmp_path)
    rows = [[Row([engine.block()], [5, 6, 7, 8])] for engine in (trainer.engine, merged, plain)]
    learnt, ours, before = (
        engine.forward(row, all_positions=True)
        for engine, row in zip((trainer.engine, merged, plain), rows, strict=True)
    )
    assert largest_difference(ours, learnt) < 0.01  # the adapter is kept in bfloat16
    assert largest_difference(before, learnt) > 0.05
    assert merged.adapter is not None
    assert merged.adapter.team == {"prompt": "short", "may_end": True, "in_turn": True}
    assert plain.adapter is None


def an_adapter(folder: Path, shape: tuple[int, int] = (32, 32), **config: Any) -> Path:
    """An adapter for one layer of the tiny model."""
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    a, b = torch.ones(2, shape[1]), torch.ones(shape[0], 2)
    folder.mkdir(exist_ok=True)
    save_file({f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 3, **config}))
    return folder


def test_what_merging_adds(tmp_path: Path) -> None:
    model = deepcopy(tiny_llama())
    weight = model.get_parameter("model.layers.0.self_attn.q_proj.weight")
    before = weight.detach().clone()
    merge(model, read_adapter(an_adapter(tmp_path)))
    assert torch.allclose(weight, before + 3 / 2 * 2)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"peft_type": "IA3"}, ModelUnsupported, "only LoRA"),
        ({"use_dora": True}, ModelUnsupported, "use_dora"),
        ({"bias": "all"}, ModelUnsupported, "biases"),
        ({"r": "x"}, ModelCorrupt, "cannot be read"),
    ],
)
def test_other_adapters_are_refused(
    tmp_path: Path, config: dict[str, Any], error: type[HogwildError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_adapter(an_adapter(tmp_path, **config))


def test_adapters_of_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="other sizes"):
        Engine.load(folder, adapter=an_adapter(tmp_path / "a", (8, 8)))
    with pytest.raises(ModelNotFound, match="give a folder"):
        Engine.load(folder, adapter=tmp_path / "none")
    tensors = load_file(an_adapter(tmp_path / "b") / WEIGHTS)
    save_file({key.replace("q_proj", "x_proj"): value for key, value in tensors.items()}, tmp_path / "b" / WEIGHTS)
    with pytest.raises(ModelUnsupported, match="no linear layer"):
        Engine.load(folder, adapter=tmp_path / "b")
    save_file({"one": torch.ones(1)}, tmp_path / "b" / WEIGHTS)
    with pytest.raises(ModelCorrupt, match="pairs"):
        Engine.load(folder, adapter=tmp_path / "b")


@pytest.mark.parametrize(
    "options",
    [
        {"steps": None},
        {"minutes": 3.0},
        {"dtype": "int8"},
        {"batch": 0},
        {"lora_rank": -1},
        {"rate": 0.0},
        {"steps": 0},
    ],
)
def test_recipes_that_cannot_be(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        recipe(folder, **options)


# Figures.


def test_figures_of_a_model_that_knows_nothing(folder: Path) -> None:
    engine = Engine.load(folder)
    mix = read_mix(folder.parent / "mix.toml")
    tasks = [draw_task(f"{i}", mix, kept=True, workers=2) for i in range(3)]
    found: Comparison = compare(engine, [replace(task, layout="combined") for task in tasks])
    figures = found.as_dict()
    assert figures["tasks"] == 3
    assert figures["once"] == figures["right"] == 0
    assert figures["passes"] > figures["passes_best"]
    assert found.team.parts == found.one.parts == sum(len(task.parts) for task in tasks)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_figures_of_workers_who_never_err(workers: int, case: str) -> None:
    engine = Rehearsal(default_tokenizer(), VOCAB, tiny_llama().generation_config)
    for seed in range(4):
        task = draw_case(case, f"{seed}", read_mix(), kept=True, workers=workers, layout="combined")
        run = Run(engine, task)
        with Recorder(engine) as recorder:
            run.team.setup.record = Players(task, run.team, recorder)
            for event in run.team.run():
                run.read(event)
        found = run.figures()
        wanted = len(task.parts) - (task.known is not None)
        assert (found.parts, found.once, found.right, found.twice, found.ended) == (wanted, wanted, wanted, 0, 1)
        assert found.best <= found.passes == run.team.passes


def test_figures_of_workers_who_err(folder: Path) -> None:
    task = draw_case("known", "1", read_mix(), kept=True, workers=2, layout="combined")
    run = Run(Engine.load(folder), task)
    for number, place in enumerate((0, 1, 1)):  # what was known, and one part twice, rightly the second time
        answer = "wrong" if number == 1 else task.parts[place].answer
        text = f"{task.called(place)} {answer}."
        run.read(StepStarted(pass_=number, time=0, worker="A", step=number + 1, text="A [1]: "))
        run.read(StepFinished(pass_=number, time=0, worker="A", step=number + 1, text=f"A [1]: {text}"))
    found = run.figures()
    assert (found.once, found.twice, found.right, found.ended) == (0, 2, 0, 0)
    assert found.parts == len(task.parts) - 1


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    task = draw_case(case, "1", read_mix(), kept=True, workers=3, layout="combined")
    assert (task.known is not None, task.late > 0) == (case == "known", case == "late")
    assert len(task.names) == 3
    if case == "unequal":
        assert {part.kind for part in task.parts} <= {"count", "first", "last", "opposite"}


# Data.


def test_traces_are_packed_into_few_forwards(folder: Path, tmp_path: Path) -> None:
    engine = Rehearsal(default_tokenizer(), VOCAB, tiny_llama().generation_config)
    traces = [simulate(draw_task(f"{i}", read_mix(folder.parent / "mix.toml")), engine) for i in range(6)]
    longest = max(len(trace.tokens) for trace in traces)
    groups = list(packs(traces, 2 * longest))
    assert [trace for group in groups for trace in group] == traces
    assert all(sum(len(trace.tokens) for trace in group) <= 2 * longest for group in groups)
    assert [len(group) for group in packs(traces, 1)] == [1] * 6
    trainer = Trainer(recipe(folder), tmp_path)
    model, layers = trainer.engine.model, trainer.engine.pool.layers
    losses = [
        sum(trace_loss(model, layers, pack(group, model.device)).item() for group in packs(traces, most))
        for most in (1, 10**9)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_training_on_a_file_of_traces(folder: Path, tmp_path: Path) -> None:
    engine = Rehearsal(default_tokenizer(), VOCAB, tiny_llama().generation_config)
    mix = read_mix(folder.parent / "mix.toml")
    traces = [simulate(draw_task(f"{i}", mix), engine) for i in range(3)]
    save_traces(tmp_path / "traces.jsonl", traces)
    trainer = Trainer(recipe(folder, data=str(tmp_path / "traces.jsonl"), steps=1), tmp_path / "out")
    seen = [trainer.feed[number] for number in range(6)]
    assert sorted(seen[:3], key=lambda t: t.tokens) == sorted(seen[3:], key=lambda t: t.tokens)
    assert sorted(seen[:3], key=lambda t: t.tokens) == sorted(traces, key=lambda t: t.tokens)


# The command.


def test_train_and_teamwork(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, mix = str(tmp_path / "out"), str(folder.parent / "mix.toml")
    command = ["train", "-m", str(folder), "--data", mix, "-o", out, "--steps", "2", "--lora-rank", "0", "--batch", "1"]
    assert cli.main([*command, "--dtype", "float32", "--eval-every", "2", "--eval-tasks", "1"]) == 0
    shown = capsys.readouterr().out
    assert "step    2  loss" in shown
    assert "parts once 0%" in shown
    assert (tmp_path / "out" / "training.png").exists() or "training.png" not in shown
    measured = ["teamwork", "-m", out, "--mix", mix, "--tasks", "1", "--case", "known", "--text", "64", "--json"]
    assert cli.main([*measured, "--plot", str(tmp_path / "plot.svg")]) == 0
    assert (tmp_path / "plot.svg").read_text().count("<path") > 4
    figures = json.loads(capsys.readouterr().out)
    assert figures["tasks"] == 1
    assert figures["perplexity"] == figures["perplexity_before"] > 1


def test_run_with_an_adapter_has_the_teams_it_was_trained_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = an_adapter(tmp_path / "a")
    (adapter / TEAM).write_text('{"team": {"prompt": "short", "may_end": true}}')
    command = ["run", "-m", str(folder), "--adapter", str(adapter), "--budget", "2", "--json", "Say it now."]
    for more, prompt in (([], "short"), (["--prompt", "default"], "default")):
        assert cli.main([*command, *more]) == 0
        started = json.loads(capsys.readouterr().out.splitlines()[0])
        assert (started["settings"]["prompt"], started["settings"]["may_end"]) == (prompt, True)
    assert cli.main(["run", "-m", str(folder), "--adapter", str(tmp_path), "Say it now."]) != 0
    assert "give a folder with" in capsys.readouterr().err


def test_adapters_of_the_package_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    an_adapter(tmp_path / "smallest")
    monkeypatch.setattr("hogwild.models.adapter.PACKAGED", tmp_path)
    assert read_adapter("smallest").name == "smallest"
    with pytest.raises(ModelNotFound, match=r"or a name \(smallest\)"):
        read_adapter("largest")


@pytest.mark.parametrize(
    ("model", "options", "chosen"),
    [
        ("tiny", {}, "smallest"),
        ("tiny", {"workers": ["Ann", "Ben"], "layout": "combined"}, "smallest"),
        ("tiny", {"layout": "contiguous"}, None),
        ("other", {}, None),
        ("tiny", {"workers": 1}, None),
        ("tiny", {"assign": ["one", "two"]}, None),
        ("tiny", {"prompt": "default"}, None),
    ],
)
def test_a_packaged_models_adapter_is_for_teams_that_share_out_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, options: dict[str, Any], chosen: str | None
) -> None:
    config = an_adapter(tmp_path / "smallest") / CONFIG
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "tiny"}))
    monkeypatch.setattr("hogwild.models.adapter.PACKAGED", tmp_path)
    assert choose_adapter(model, options) == chosen


def test_run_takes_the_adapter_of_the_package_unless_told_not_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = an_adapter(tmp_path / "smallest")
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": str(folder)}))
    (adapter / TEAM).write_text('{"team": {"prompt": "short"}}')
    monkeypatch.setattr("hogwild.models.adapter.PACKAGED", tmp_path)
    command = ["run", "-m", str(folder), "--budget", "2", "--json", "Say it now."]
    for more, prompt in (([], "short"), (["--adapter", "none"], "default"), (["--workers", "1"], "default")):
        assert cli.main([*command, *more]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[0])["settings"]["prompt"] == prompt
    assert solve("Say it now.", str(folder), budget=2).passes == 2


def test_commands_that_cannot_be(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "-m", str(folder), "-o", str(tmp_path)]) == 2
    assert "either --steps or --minutes" in capsys.readouterr().err
    assert cli.main(["teamwork", "-m", str(folder), "--case", "odd"]) == 2
    assert "--case" in capsys.readouterr().err
