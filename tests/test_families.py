"""Every family of the support table on a tiny random model: exact, and with a test that can fail; or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hogwild.engine import Engine
from hogwild.engine.selftest import self_test
from hogwild.errors import ModelUnsupported
from hogwild.models.families import FAMILIES, Family
from hogwild.models.support import check_config
from tiny import (
    ATTENTION,
    TINY,
    WINDOW,
    alter,
    chain_difference,
    ragged_difference,
    some_tokens,
    tiny_config,
    tiny_engine,
    tiny_model,
)

TOLERANCE = 1e-4  # of the largest logit: what is asked of float32; what is measured is a few 1e-6
VISIBLE = 1e-3  # what is wrong with positions or masks is off by more than this
SUPPORTED = [family for family in FAMILIES if family.status != "refused"]
REFUSED = [family for family in FAMILIES if family.status == "refused"]
FLOAT64 = ["StarCoder2", "GPT-NeoX", "Phi", "Persimmon"]  # nn.LayerNorm: no step of their code is in float32


def named(families: list[Family]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("family", families, ids=lambda family: family.name)


def test_the_table_is_whole() -> None:
    assert {family.name for family in FAMILIES} == set(TINY)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert len(SUPPORTED) >= 15
    for family in FAMILIES:
        assert TINY[family.name][0] in family.model_types
        assert (family.difference is None) == (family.status == "refused")


@pytest.mark.parametrize("attention", ATTENTION)
@named(SUPPORTED)
def test_exact(family: Family, attention: str, record_property: Callable[[str, object], None]) -> None:
    engine = tiny_engine(family.name, attention=attention)  # ends with the self-test
    chain, ragged = chain_difference(engine), ragged_difference(engine)
    record_property("difference", max(chain, ragged))
    assert max(chain, ragged) <= TOLERANCE
    assert family.difference is not None
    assert max(chain, ragged) <= 10 * family.difference <= TOLERANCE  # other machines round in other ways
    assert engine.pool.used_pages == 0


@named(SUPPORTED)
def test_the_extra_rotation_matters(family: Family) -> None:
    engine = tiny_engine(family.name)
    assert any(layer.rotary for layer in engine.pool.layers)
    alter(engine, rotary=None)
    assert chain_difference(engine) > VISIBLE
    with pytest.raises(ModelUnsupported, match="not exact"):
        self_test(engine)


def has(kind: str) -> list[str]:
    """The supported families with windows, soft caps or sinks."""
    return [
        family.name
        for family in SUPPORTED
        if any(getattr(layer, kind) is not None for layer in tiny_engine(family.name, check=False).pool.layers)
    ]


@pytest.mark.parametrize("kind", ["window", "softcap", "sinks"])
def test_what_is_special_reaches_attention_and_matters(kind: str) -> None:
    names = has(kind)
    assert len(names) >= {"window": 15, "softcap": 2, "sinks": 1}[kind]
    for name in names:
        engine = tiny_engine(name)
        alter(engine, **{kind: None})
        assert chain_difference(engine) > VISIBLE, name


def test_windows_are_read_off_the_mask() -> None:
    """Qwen2-MoE and Phi-3.5-MoE tell their masks of a window, and not their attention function."""
    for name, windows in (("Qwen2-MoE", {WINDOW, None}), ("Phi-3.5-MoE", {WINDOW}), ("Mistral", {WINDOW})):
        assert {layer.window for layer in tiny_engine(name).pool.layers} == windows


def test_a_window_that_the_mask_does_not_have_is_refused() -> None:
    model = tiny_model("OLMoE")
    model.config.sliding_window = WINDOW  # its attention function hears of it, its mask does not
    with pytest.raises(ModelUnsupported, match=r"sliding_window=16, but the mask lets a token see 512"):
        Engine.load(model, kv_memory=1 << 22)


def test_positions_end_with_the_original_window() -> None:
    assert tiny_engine("Phi-3 long (longrope)").max_positions == 128
    assert tiny_engine("Ministral 3").max_positions == 256
    assert tiny_engine("YaRN scaling").max_positions == 512


@pytest.mark.parametrize("name", FLOAT64)
def test_float64(name: str) -> None:
    engine = tiny_engine(name, dtype="float64")
    assert ragged_difference(engine) <= 1e-9
    assert chain_difference(engine) <= 1e-6  # the model's own angles are float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["Llama", "Gemma 2", "GPT-OSS", "Mixtral", "DeepSeek V3", "MiniMax-M2"])
def test_half_precision(name: str, dtype: str) -> None:
    """The self-test measures rounding on the model itself, so that it lets through what is right and nothing else."""
    engine = tiny_engine(name, dtype=dtype)
    assert engine.report is not None
    assert engine.report.exact
    assert engine.report.dtype == dtype
    alter(engine, rotary=None)
    with pytest.raises(ModelUnsupported, match="not exact"):
        self_test(engine)


@named(REFUSED)
def test_refused(family: Family) -> None:
    def load() -> None:
        check_config(tiny_config(family.name))  # many need not even be built
        Engine.load(tiny_model(family.name), kv_memory=1 << 22)

    with pytest.raises(ModelUnsupported) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message
    assert re.match(r"[\w.-]+: ", message), message
    assert len(message) < 300


def test_what_the_probe_misses_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that mixes neighbouring tokens outside of attention, as a convolution does, has no recorded trace."""
    model = tiny_model("Llama")
    mlp = model.model.layers[1].mlp

    class Leaking(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mixed: torch.Tensor = mlp(x + 0.1 * x.roll(1, dims=1))
            return mixed

    monkeypatch.setattr(model.model.layers[1], "mlp", Leaking())
    with pytest.raises(ModelUnsupported, match="not exact"):
        Engine.load(model, kv_memory=1 << 22)


def test_a_vanishing_self_test_is_no_pass() -> None:
    model = tiny_model("Llama")
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(ModelUnsupported, match="not exact"):
        Engine.load(model, kv_memory=1 << 22)


def test_a_loaded_model_is_taken_over_and_given_back() -> None:
    model = tiny_model("Llama")
    ids = torch.tensor([some_tokens(12)])
    with torch.inference_mode():
        before = model(ids).logits
        engine = Engine.load(model, kv_memory=1 << 22)
        with pytest.raises(ModelUnsupported, match="set_attn_implementation"):
            model(ids)
        model.set_attn_implementation("sdpa")
        torch.testing.assert_close(model(ids).logits, before)
    assert engine.model is model
    assert engine.tokenizer is None


def test_the_documentation_has_the_table() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "models.md").read_text()
    for family in FAMILIES:
        shown = "" if family.difference is None else f"{family.difference:.1e}"
        assert f"| {family.name} | {family.status} | {shown} | {family.notes} |" in page
