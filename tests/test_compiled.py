"""torch.compile as an option: the same tokens, and nothing compiled after the load."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest
import torch

from hogwild import Engine, Row, native
from hogwild.engine.selftest import largest_difference
from hogwild.errors import ModelUnsupported, OptionError
from hogwild.models import compiled, norms
from hogwild.models.compiled import decoder_layers
from tiny import some_tokens, tiny_engine, tiny_model

# Inductor's own import, in torch._inductor and torch.utils.mkldnn, warns of what torch means to give up.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inductor where a C++ compiler is there; without one, what Dynamo captured runs as it is."""
    if shutil.which("g++") is None:
        sys.stdout.write("no g++: the eager backend stands in for Inductor\n")
        monkeypatch.setattr(compiled, "BACKEND", "eager")
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def passes(engine: Engine) -> list[torch.Tensor]:
    """A run in which blocks grow past pages, and workers join one by one, up to 16; logits of every pass."""
    prompt = engine.block()
    engine.prefill([prompt], some_tokens(90))
    blocks, found = [engine.block()], []
    for turn in range(24):
        if turn and len(blocks) < 16:
            blocks.append(engine.block())
        tokens = some_tokens(len(blocks) + 3, seed=turn)
        # The newest brings its first words, the others one token each.
        rows = [Row([prompt, *(b for b in blocks if b is not own), own], [tokens[i]]) for i, own in enumerate(blocks)]
        rows[-1] = Row(rows[-1].view, tokens[len(blocks) - 1 :] if turn % 3 else tokens[-1:])
        found.append(engine.forward(rows))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "Gemma 3"])  # one kind of layer, and two
def test_the_same_logits_and_nothing_compiled_later(name: str) -> None:
    plain, fast = tiny_engine(name), tiny_engine(name, compile=True)
    expected = passes(plain)
    torch._dynamo.utils.counters.clear()
    with torch.compiler.set_stance("fail_on_recompile"):
        found = passes(fast)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    assert fast.report is not None
    assert fast.report.exact  # the self-test has gone through the compiled layers
    for ours, theirs in zip(found, expected, strict=True):
        # Fused sums and norms round elsewhere: as much as the self-test allows between two ways to compute.
        assert largest_difference(ours, theirs) <= fast.report.tolerance
        assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


@pytest.mark.slow
def test_packed_linear_layers_compile() -> None:
    plain, fast = (tiny_engine("Llama", quantize="int8", compile=wanted) for wanted in (False, True))
    with torch.compiler.set_stance("fail_on_recompile"):
        found = passes(fast)
    # Sums that are rounded elsewhere may send an input to the next of its 255 steps. That must change less than all the
    # rounding to 8 bits does.
    for ours, theirs, exact in zip(found, passes(plain), passes(tiny_engine("Llama")), strict=True):
        assert (ours - theirs).abs().max() < (theirs - exact).abs().max()


def test_packed_linear_layers_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")  # which rounds where the model does
    plain, fast = (tiny_engine("Llama", quantize="int8", compile=wanted) for wanted in (False, True))
    with torch.compiler.set_stance("fail_on_recompile"):
        found = passes(fast)
    for ours, theirs in zip(found, passes(plain), strict=True):
        assert torch.equal(ours, theirs)


def test_models_in_bfloat16_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    norms.kernels.cache_clear()  # as in a fresh process: the search for the kernels must not be captured
    native._chosen.cache_clear()
    plain, fast = (tiny_engine("Llama", dtype="bfloat16", compile=wanted) for wanted in (False, True))
    assert any(isinstance(module.forward, norms.FusedNorm) for module in fast.model.modules()) or not norms.kernels()
    with torch.compiler.set_stance("fail_on_recompile"):
        found = passes(fast)
    assert fast.report is not None
    for ours, theirs in zip(found, passes(plain), strict=True):
        assert largest_difference(ours, theirs) <= fast.report.tolerance


def test_prompts_and_the_models_own_forward_run_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    engine = tiny_engine("Llama", compile=True)
    torch.compiler.reset()  # whatever is called compiled from here on would be compiled again, which fails
    with torch.compiler.set_stance("fail_on_recompile"):
        engine.prefill([engine.block()], some_tokens(compiled.MOST_TOKENS + 1))
        engine.model.set_attn_implementation("sdpa")
        engine.model(input_ids=torch.tensor([some_tokens(5)]), use_cache=False)
    engine.model.set_attn_implementation("hogwild")
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError):
        engine.forward([Row([engine.block()], [1])])


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    with pytest.raises(ModelUnsupported, match="torch.compile does not take it, load it without .*no compiler here"):
        tiny_engine("Llama", compile=True)


def test_compile_and_tensor_parallel_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match="compile and tensor_parallel"):
        Engine.load("somewhere", compile=True, tensor_parallel=True)


def test_a_model_without_a_stack_of_layers_is_refused() -> None:
    model = tiny_model("Llama")
    model.config.num_hidden_layers = 17
    with pytest.raises(ModelUnsupported, match="no list of 17 layers"):
        decoder_layers(model)
