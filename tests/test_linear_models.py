"""Models with packed linear layers: what they compute is what their own layers would, with the weights they hold."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from hogwild.engine import Engine, Row
from hogwild.engine.selftest import calm_difference, plain_logits, self_test
from hogwild.errors import ModelUnsupported, OptionError
from hogwild.models import linear
from hogwild.models.families import FAMILIES
from hogwild.models.linear import PackedLinear, prepare_linears
from tiny import alter, some_tokens, tiny_engine, tiny_model

ROUNDING = 0.03
"""By how much 8-bit inputs may move logits. The largest of 32 normal numbers is about 2.2 deviations; a step is that
over 127, and rounding to it is off by step / sqrt(12), 0.5% of the size of the inputs. The errors of up to seven
products in each of four layers and of the head are independent: sqrt(29) * 0.5% is 2.7%."""


def layers(model: nn.Module) -> Iterator[tuple[str, PackedLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear):
            yield name, module


@torch.inference_mode()
def unpacked(engine: Engine) -> nn.Module:
    """A copy of the model with plain layers that hold the weights which the packed ones multiply with."""
    model: nn.Module = copy.deepcopy(engine.model)
    for name, packed in list(layers(model)):
        plain = nn.Linear(packed.in_features, packed.out_features, bias=packed.bias is not None)
        plain.weight = nn.Parameter(packed.dequantised())
        if packed.bias is not None:
            plain.bias = nn.Parameter(packed.bias)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, plain)
    return model


@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("name", ["Llama", "Qwen2", "Gemma 3", "Phi-3", "DeepSeek V3"])
@torch.inference_mode()
def test_as_exact_as_its_own_weights(name: str, quantize: str) -> None:
    engine = tiny_engine(name, quantize=quantize)
    assert engine.report is not None
    assert engine.report.exact
    tokens = some_tokens(40)
    block = engine.block()
    ours = engine.forward([Row([block], tokens)], all_positions=True)
    engine.model = unpacked(engine)
    own, original = plain_logits(engine, tokens), tiny_model(name)(torch.tensor([tokens])).logits[0]
    assert calm_difference(ours, own) < ROUNDING
    if quantize == "int4":  # and the comparison sees what quantising the weights does
        assert calm_difference(own, original) > 2 * calm_difference(ours, own)


def test_the_self_test_sees_what_is_wrong() -> None:
    for quantize in ("int8", "int4"):
        engine = tiny_engine("Llama", quantize=quantize)
        alter(engine, rotary=None)
        with pytest.raises(ModelUnsupported, match="not exact"):
            self_test(engine)


@pytest.mark.parametrize("name", [family.name for family in FAMILIES if family.status != "refused"])
def test_every_family_runs_with_packed_layers(name: str) -> None:
    for quantize, dtype in (("int4", "float32"), ("none", "bfloat16")):
        engine = tiny_engine(name, quantize=quantize, dtype=dtype)
        assert engine.report is not None
        assert engine.report.exact
        assert not any(type(module) is nn.Linear for module in engine.model.modules()) or quantize == "none"


def test_int4_keeps_a_narrow_head_at_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("Llama")
    prepare_linears(model, "int4")
    forms = {name: layer.form for name, layer in layers(model)}
    assert forms.pop("lm_head") == "int8"
    assert set(forms.values()) == {"int4"}
    monkeypatch.setattr(linear, "WIDE_HEAD", 1)
    model = tiny_model("Llama")
    prepare_linears(model, "int4")
    assert {layer.form for _, layer in layers(model)} == {"int4"}


@torch.inference_mode()
def test_quantised_workers_read_each_other() -> None:
    engine = tiny_engine("Llama", quantize="int8")
    common, one, other = engine.block(), engine.block(), engine.block()
    engine.prefill([common], some_tokens(30))
    rows = [Row([common, other, one], some_tokens(3, 1)), Row([common, one, other], some_tokens(2, 2))]
    both = engine.forward(rows)
    for block in (one, other):
        block.truncate(0)
    engine.forward([Row([common, one], some_tokens(3, 1))])
    alone = engine.forward([Row([common, other], some_tokens(2, 2))])
    assert calm_difference(both[1:], alone) > 2 * ROUNDING


def test_not_on_other_devices() -> None:
    with pytest.raises(OptionError, match="works on one CPU"):
        Engine.load(tiny_model("Llama"), device="cuda", quantize="int8")
    with pytest.raises(OptionError, match="int3"):
        Engine.load(tiny_model("Llama"), quantize="int3")
