"""Layers that read the same input are one product, and nobody can tell."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hogwild.models.linear import PackedLinear, prepare_linears
from hogwild.models.siblings import join_siblings
from tiny import some_tokens, tiny_model


def packed_layers(model: nn.Module) -> list[PackedLinear]:
    return [module for module in model.modules() if isinstance(module, PackedLinear)]


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        out: Tensor = model(input_ids=torch.tensor([some_tokens(9)]), use_cache=False).logits
        return out


@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("name", ["Llama", "Qwen2", "Gemma 3"])
def test_the_same_logits_from_fewer_products(name: str, quantize: str) -> None:
    model = tiny_model(name)
    prepare_linears(model, quantize)
    alone = logits(model)
    assert join_siblings(model) == 2 * 4  # q, k and v; gate and up, in each of 4 layers
    assert torch.equal(logits(model), alone)
    members = [layer for layer in packed_layers(model) if layer.shared is not None]
    assert len(members) == 5 * 4
    for one, other in pairwise(members[:3]):  # one memory for all
        assert one.packed.untyped_storage().data_ptr() == other.packed.untyped_storage().data_ptr()


class Pair(nn.Module):
    """Two layers over the same input, and what a model may do with their outputs."""

    def __init__(self, outputs: int = 64, flat: bool = False) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(64, outputs), nn.Linear(64, 64, bias=False)
        self.flat = flat

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> SimpleNamespace:
        x = torch.linspace(-1, 1, 64) * (input_ids[..., None] + 1)
        one, other = self.one(x), self.other(x)
        return SimpleNamespace(logits=torch.cat([(one.view(-1) if self.flat else one.reshape(-1)), other.reshape(-1)]))


def joined(**options: bool | int) -> tuple[Pair, int]:
    torch.manual_seed(0)
    model = Pair(**options)  # type: ignore[arg-type]
    prepare_linears(model, "int8")
    return model, join_siblings(model)


def test_a_bias_of_one_of_them() -> None:
    model, groups = joined()
    assert groups == 1
    x = torch.randn(2, 3, 64)
    together = model.one(x), model.other(x)
    for layer in (model.one, model.other):
        layer.shared = None  # type: ignore[assignment]
    assert torch.equal(together[0], model.one(x))
    assert torch.equal(together[1], model.other(x))


def test_called_with_something_else_each_computes_alone() -> None:
    model, _ = joined()
    x, y = torch.randn(3, 64), torch.randn(3, 64)
    expected = model.other(y)  # nobody called the first one: alone
    model.one(x)
    assert torch.equal(model.other(y), expected)
    assert torch.equal(model.other(x), (model.one(x), model.other(x))[1])


def test_outputs_that_do_not_fill_their_panels_stay_alone() -> None:
    assert joined(outputs=40)[1] == 0


def test_a_model_that_looks_at_strides_stays_as_it_is() -> None:
    model, groups = joined(flat=True)
    assert groups == 0
    assert model.one.shared is None
    assert model(torch.tensor([[1, 2]])).logits.isfinite().all()  # type: ignore[unreachable]


def test_a_model_that_cannot_be_run_stays_as_it_is() -> None:
    model, _ = joined()
    model.forward = None  # type: ignore[assignment]
    assert join_siblings(model) == 0
