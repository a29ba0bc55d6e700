"""What a model writes by itself is learnt as the model has it, so that it is not forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fakes import VOCAB, model_folder
from hogwild.engine import Row
from hogwild.train.forward import pack, trace_logits, trace_loss
from hogwild.train.own import FORMS, OWN, own_texts, single_part
from hogwild.train.parts import words
from hogwild.train.trainer import Recipe, Trainer

MIX = """
kinds.first = 1
workers.2 = 1
layouts.combined = 1
prompts.short = 1
task.parts = [2, 3]
[own]
share = 0.5
passes = 3
parts = 4
texts = 5
length = 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and a mix of tiny tasks beside it."""
    folder = model_folder(tmp_path_factory.mktemp("models"))
    (folder.parent / "mix.toml").write_text(MIX)
    return folder


def trainer(folder: Path, out: Path, *, steps: int = 2, rank: int = 4, rate: float = 5e-3) -> Trainer:
    if rank:
        pytest.importorskip("peft", reason="LoRA is trained through peft: pip install 'hogwild[train]'")
    data = str(folder.parent / "mix.toml")
    return Trainer(
        Recipe(str(folder), data, rank, rate=rate, batch=2, steps=steps, warm_up=1, dtype="float32", eval_every=0), out
    )


def text_logits(trainer: Trainer) -> Tensor:
    block = trainer.engine.block()
    logits = trainer.engine.forward([Row([block], [3, 1, 4, 1, 5])], all_positions=True)
    block.free()
    return logits


def test_answers_and_texts_are_drawn_with_the_rest_and_kept(folder: Path, tmp_path: Path) -> None:
    first = trainer(folder, tmp_path, rank=0)
    own = first.feed.own
    answers, texts = own[:-5], own[-5:]
    asked, ordinary = [trace.info["run"] for trace in answers], words()["ordinary"]["train"]
    assert asked[:-4] == [question for question in ordinary for _ in FORMS]
    assert asked[-4:] == [single_part(f"0/{index}") for index in range(4)]
    assert all(1 <= trace.learnt <= 6 for trace in answers)  # of the worker and of the finisher
    assert all(len(trace.tokens) == 7 and trace.learnt == 6 for trace in texts)
    assert all(trace.info[OWN] for trace in own)
    drawn = [first.feed[number] for number in range(20)]
    assert 3 < sum(trace in own for trace in drawn) < 17
    list(first.run())
    assert trainer(folder, tmp_path, steps=3, rank=0).feed.own == own  # not what it would write now
    assert not set(ordinary) & set(words()["ordinary"]["kept"])


def test_texts_are_sampled_from_the_model(folder: Path, tmp_path: Path) -> None:
    engine = trainer(folder, tmp_path, rank=0).engine
    free = engine.pool.free_pages
    traces = own_texts(engine, 64, 3, seed=1)
    assert [trace.tokens for trace in traces] == [trace.tokens for trace in own_texts(engine, 64, 3, seed=1)]
    assert traces != own_texts(engine, 64, 3, seed=2)
    assert all(trace.labels[:-1] == trace.tokens[1:] for trace in traces)
    assert engine.pool.free_pages == free
    # The tokens are about as likely as the model says: its mean log probability of them is minus its mean entropy.
    batch = pack(traces, torch.device("cpu"))
    with torch.no_grad():
        likely = trace_logits(engine.model, engine.pool.layers, batch, batch.learnt).log_softmax(-1)
    said = likely.gather(1, batch.labels[batch.learnt][:, None])
    entropy = -(likely.exp() * likely).sum(-1)
    spread = ((likely.exp() * likely**2).sum(-1) - entropy**2).mean().sqrt() / len(said) ** 0.5
    assert abs(said.mean() + entropy.mean()) < 4 * spread


def test_the_loss_is_the_divergence_from_the_teacher(folder: Path, tmp_path: Path) -> None:
    here = trainer(folder, tmp_path, rank=0)
    model, layers = here.engine.model, here.engine.pool.layers
    batch = pack(here.feed.own[-2:], model.device)
    logits = trace_logits(model, layers, batch, batch.learnt)
    assert trace_loss(model, layers, batch, logits).item() == pytest.approx(0, abs=1e-5)
    teacher = torch.randn(len(batch.learnt), VOCAB, generator=torch.Generator().manual_seed(0))
    likely = teacher.softmax(-1)
    wanted = nn.functional.cross_entropy(logits, likely, reduction="sum") + (likely * likely.log()).sum()
    assert trace_loss(model, layers, batch, teacher).item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_untrained_model_is_the_teacher(folder: Path, tmp_path: Path) -> None:
    """An adapter that has changed the model learns from its own texts to be as before."""
    here = trainer(folder, tmp_path, steps=60)
    before = text_logits(here)
    for name, parameter in here.trained.parameters.items():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    changed = text_logits(here)
    with here.trained.untrained():
        assert torch.equal(text_logits(here), before)
    assert torch.equal(text_logits(here), changed)
    assert all(parameter.requires_grad for parameter in here.trained.parameters.values())
    here.feed._fixed = here.feed.own  # nothing else
    losses = [line["loss"] for line in here.run()]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
