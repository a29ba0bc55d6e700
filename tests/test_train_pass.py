"""The training pass gives the logits of inference, of whatever a team has done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from fakes import VOCAB, default_tokenizer, encode, eos, prompt_folder
from hogwild import Team, Worker
from hogwild.engine import Engine, Row, passes
from hogwild.errors import HogwildError, TraceError
from hogwild.models.load import Loaded
from hogwild.team.record import Record
from hogwild.train.forward import Batch, pack, trace_logits, trace_loss
from hogwild.train.recorder import Recorder
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.trace import NO_LABEL, Trace, _chains, load_traces, save_traces
from tiny import tiny_config

FAMILIES = ("Llama", "Qwen3", "Gemma 3")
STORIES = (
    "I take one. It is red.\n\nNow two, which is blue as ever.\n\nDone.",
    "Two is mine. Blue.\n\nOne was red.\n\nThree: it is long, and longer, and has no end",
    "Three. No.\n\nYes.\n\nI think so too.",
    "Nothing",
)


class Told(Record):
    """Workers write what they are told, and a recorder is told of it."""

    def __init__(self, recorder: Recorder, stories: Sequence[str]) -> None:
        super().__init__()
        self.recorder = recorder
        self.tokens = [[*encode(story), eos()] for story in stories]

    def draw(self, writer: Hashable, index: int, sample: Callable[[], int]) -> int:
        story = self.tokens[writer] if isinstance(writer, int) else [encode("!")[0], eos()]
        token = story[index] if index < len(story) else encode("x")[0]
        self.recorder.drawn(token)
        self.tick()
        return token


class Heard:
    """An engine's passes, with the logits after every token of each [tokens, vocab], in the order they were fed."""

    def __init__(self, engine: Engine) -> None:
        self.logits = list[Tensor]()
        self._pass = engine._pass
        engine._pass = self  # type: ignore[method-assign]

    def __call__(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        logits = self._pass(rows, True)
        self.logits.append(logits)
        if all_positions:
            return logits
        return logits[torch.tensor(passes.asked_places(rows))]


def small_engine(name: str) -> Engine:
    """An engine on a tiny random model that fits the tokenizer of the fakes."""
    torch.manual_seed(3)
    config = tiny_config(name)
    config.vocab_size, config.max_position_embeddings = VOCAB, 2048
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model.generation_config.eos_token_id = [eos()]
    return Engine(Loaded(name, model, default_tokenizer(), model.generation_config), 1 << 24, "plain")


def record(engine: Engine, **options: Any) -> tuple[Trace, Tensor]:
    """A team's run as a trace, and the logits that it had, in the order of the trace's tokens."""
    heard, workers, stories = Heard(engine), options.pop("workers", 2), options.pop("stories", STORIES)
    with Recorder(engine) as recorder:
        team = Team(engine, "Say one, two and three.", workers, answer_tokens=4, **options)
        team.setup.record = Told(recorder, stories)
        events = [event.kind for event in team.run()]
        order = np.concatenate(_chains(len(recorder._tokens), recorder._rows))
        return recorder.trace({"events": events}), torch.cat(heard.logits)[order]


def trained(engine: Engine, *traces: Trace) -> tuple[Batch, Tensor]:
    """The logits of the training pass."""
    batch = pack(traces, engine.device)
    return batch, trace_logits(engine.model, engine.pool.layers, batch)


def worst(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_logits_are_those_of_the_run(name: str, layout: str, prompt: Path) -> None:
    engine = small_engine(name)
    trace, theirs = record(engine, layout=layout, prompt=str(prompt), budget=90)
    assert len(trace.lengths) > 4
    assert max(one.number for one in trace.rows) > 70
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, theirs) < 1e-4


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_any_number_of_workers(workers: int, prompt: Path) -> None:
    engine = small_engine("Gemma 3")
    trace, theirs = record(engine, workers=workers, prompt=str(prompt), budget=60)
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, theirs) < 1e-4


@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
def test_private_blocks_joining_and_a_message(layout: str, prompt: Path) -> None:
    def happen(team: Team) -> None:
        for passed in range(40):
            team.step()
            if passed == 5:
                team.say("Hurry up.")
            if passed == 9:
                team.join(Worker("Carol", prompt="Count."))
            if passed == 20:
                team.leave("Alice")
        team.close()

    engine = small_engine("Qwen3")
    heard = Heard(engine)
    with Recorder(engine) as recorder:
        workers = [Worker("Alice", prompt="Be short."), Worker("Bob", prompt="Be quick and kind.")]
        team = Team(engine, "Say one, two and three.", workers, layout=layout, prompt=str(prompt))
        team.setup.record = Told(recorder, STORIES)
        happen(team)
        order = np.concatenate(_chains(len(recorder._tokens), recorder._rows))
        trace = recorder.trace()
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, torch.cat(heard.logits)[order]) < 1e-4


def test_parts_and_the_default_prompt() -> None:
    engine = small_engine("Llama")
    trace, theirs = record(engine, assign=["Say one.", "Say two.", "Say three."], budget=30)
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, theirs) < 1e-4


def test_steps_that_leave_a_full_window(prompt: Path) -> None:
    engine = small_engine("Llama")
    engine.max_positions = 270
    stories = ["Now. " + "A step.\n\n" * 20] * 2
    trace, theirs = record(engine, on_full="drop", prompt=str(prompt), budget=90, stories=stories)
    assert "steps_dropped" in trace.info["events"]
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, theirs) < 1e-4


def test_packed_traces_do_not_see_each_other(prompt: Path) -> None:
    engine = small_engine("Gemma 3")
    first, of_first = record(engine, prompt=str(prompt), budget=20)
    second, of_second = record(engine, workers=3, layout="contiguous", prompt=str(prompt), budget=30)
    with torch.no_grad():
        batch, ours = trained(engine, first, second, first)
    assert batch.bounds[-1] == len(ours) == 2 * len(of_first) + len(of_second)
    assert worst(ours, torch.cat([of_first, of_second, of_first])) < 1e-4


def test_drafts_and_blocks_read_twice() -> None:
    engine = small_engine("Llama")
    heard = Heard(engine)
    with Recorder(engine) as recorder:
        common, a, b = engine.block(), engine.block(), engine.block()
        engine.prefill([common], encode("A common beginning"))
        engine.forward([Row([common, b, a], encode("one")), Row([common, a, b], encode("two three"), drafts=3)])
        b.truncate(len(b) - 2)
        twin = common.fork()
        engine.forward([Row([common, twin, b, a], encode("x")), Row([twin, a, b], encode("other"))])
        common.extend(a, 1, 3)
        shorter = common.without(2, 8)
        engine.forward([Row([shorter, b], encode("and on"))])
        order = np.concatenate(_chains(len(recorder._tokens), recorder._rows))
        trace = recorder.trace()
    with torch.no_grad():
        _, ours = trained(engine, trace)
    assert worst(ours, torch.cat(heard.logits)[order]) < 1e-4


def test_labels_are_what_was_written(prompt: Path) -> None:
    trace, _ = record(small_engine("Llama"), prompt=str(prompt), budget=12)
    learnt = [token for token in trace.labels if token != NO_LABEL]
    assert trace.learnt == len(learnt) == 12 * 2 + 2  # the finisher's two, too
    for story in STORIES[:2]:
        assert sum(token in encode(story[:12]) for token in learnt) >= 12


def test_gradients_reach_every_weight(prompt: Path) -> None:
    engine = small_engine("Gemma 3")
    trace, _ = record(engine, prompt=str(prompt), budget=20)
    batch = pack([trace], engine.device)
    loss = trace_loss(engine.model, engine.pool.layers, batch)
    loss.backward()
    assert loss.item() > 0
    for name, parameter in engine.model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_gradients_are_right(prompt: Path) -> None:
    """A step along the gradient changes the loss by as much as the gradient says."""
    engine = small_engine("Llama")
    trace, _ = record(engine, prompt=str(prompt), budget=20)
    model: PreTrainedModel = engine.model.double()
    batch = pack([trace], engine.device)
    trace_loss(model, engine.pool.layers, batch).backward()
    key: Tensor = model.get_parameter("model.layers.0.self_attn.k_proj.weight")
    assert key.grad is not None
    direction, size = key.grad / key.grad.norm(), 1e-4
    losses = []
    with torch.no_grad():
        for step in (size, -size):
            key += step * direction
            losses.append(float(trace_loss(model, engine.pool.layers, batch)))
            key -= step * direction
    assert (losses[0] - losses[1]) / (2 * size) == pytest.approx(float(key.grad.norm()), rel=1e-3)


def test_a_rehearsal_gives_the_same_trace(prompt: Path) -> None:
    engine = small_engine("Llama")
    real, _ = record(engine, prompt=str(prompt), budget=60)
    bare = Rehearsal(default_tokenizer(), VOCAB, engine.generation_config, 2048)
    with Recorder(bare) as recorder:
        team = Team(bare, "Say one, two and three.", 2, answer_tokens=4, prompt=str(prompt), budget=60)
        team.setup.record = Told(recorder, STORIES)
        list(team.run())
        again = recorder.trace()
        assert (again.tokens, again.labels, again.rows) == (real.tokens, real.labels, real.rows)


def test_saved_and_loaded(tmp_path: Path, prompt: Path) -> None:
    trace, _ = record(small_engine("Llama"), prompt=str(prompt), budget=10)
    assert save_traces(tmp_path / "traces.jsonl", [trace, trace]) == 2
    assert load_traces(tmp_path / "traces.jsonl") == [trace, trace]
    (tmp_path / "broken.jsonl").write_text('{"tokens": [1]}\n')
    with pytest.raises(TraceError, match="line 1"):
        load_traces(tmp_path / "broken.jsonl")


def test_a_recorder_leaves_no_trace() -> None:
    engine = small_engine("Llama")
    layers = len(engine.pool.layers)
    with Recorder(engine), pytest.raises(HogwildError, match="recorded already"):
        Recorder(engine)
    assert (len(engine.pool.layers), len(engine.pool.keys), engine.observer) == (layers, layers, None)
    early = engine.prompt(encode("before"))
    with Recorder(engine) as recorder:
        with pytest.raises(HogwildError, match="nothing was recorded"):
            recorder.trace()
        with pytest.raises(HogwildError, match="before the recorder began"):
            engine.feed([Row([early, engine.block()], encode("x"))])


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    """A prompt set of a few words, with headers around what others and oneself write."""
    return prompt_folder(tmp_path / "prompt")
