"""Packed linear layers: the same products as with the weights that they say they have."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hogwild.errors import OptionError
from hogwild.models import linear, packing
from hogwild.models.linear import PackedLinear, prepare_linears
from hogwild.models.packing import pack, pack_plainly, packed_bytes, unpack

FORMS = ("bf16", "bf12", "int8", "int4")
PACKED = ("bf16", "int8", "int4")  # in every shape; of bf12 see test_bf12.py
SHAPES = ((64, 64), (33, 37), (5, 1), (100, 31), (192, 576), (31, 95))
EPS = torch.finfo(torch.bfloat16).eps

needs_kernels = pytest.mark.skipif(packing.kernels() is None, reason="the kernels are not there")


def weights(outputs: int, inputs: int, seed: int = 0) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)).div(inputs**0.5)


def inputs_of(rows: int, inputs: int) -> Tensor:
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows))


def allowed(x: Tensor, weight: Tensor, form: str, y: Tensor) -> Tensor:
    """By how much each output may differ from the product with float64 numbers."""
    size = weight.double().abs()
    if form in {"bf16", "bf12"}:  # inputs rounded to 8 bits of fraction, half an eps of each
        rounding = x.double().abs() @ size.T * EPS / 2
    else:  # inputs rounded to steps of largest / 127 in each group, half a step of each
        groups = nn.functional.pad(x.double().abs(), (0, -x.shape[1] % 32)).unflatten(1, (-1, 32))
        step = (groups.amax(-1, keepdim=True) / 127).expand_as(groups).flatten(1)[:, : x.shape[1]]
        rounding = step @ size.T / 2
    summing = (x.double().abs() @ size.T) * x.shape[1] * 2.0**-24
    return rounding * 1.01 + summing + y.double().abs() * (EPS if y.dtype == torch.bfloat16 else 1e-6) + 1e-7


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 3, 8, 9, 17, 40])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_product(form: str, shape: tuple[int, int], rows: int, dtype: torch.dtype) -> None:
    bias = torch.randn(shape[0])
    layer = PackedLinear(weights(*shape), bias if rows % 2 else None, form)
    x = inputs_of(rows, shape[1]).to(dtype)
    y = layer(x)
    exact = x.double() @ layer.dequantised().double().T + (bias.double() if rows % 2 else 0)
    assert y.dtype == dtype
    assert y.shape == (rows, shape[0])
    assert ((y.double() - exact).abs() <= allowed(x, layer.dequantised(), form, y)).all()


@needs_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(100, 95), (300, 544), (40, 600)], ids=str)
def test_a_row_does_not_depend_on_its_neighbours(form: str, shape: tuple[int, int]) -> None:
    layer = PackedLinear(weights(*shape), None, form)
    x = inputs_of(550, shape[1])
    alone = torch.cat([layer(row[None]) for row in x])
    for count in (2, 3, 5, 8, 13, 21, 32, 33, 70, 513, 550):
        assert torch.equal(layer(x[:count]), alone[:count])


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("shape", SHAPES)
def test_packing_keeps_weights(form: str, shape: tuple[int, int]) -> None:
    weight = weights(*shape)
    found = unpack(pack(weight, form), form, *shape)
    groups = nn.functional.pad(weight, (0, -shape[1] % 32)).unflatten(1, (-1, 32))
    if form == "bf16":
        assert torch.equal(found, weight.bfloat16().float())
        return
    span = groups.abs().amax(-1) / 127 if form == "int8" else (groups.amax(-1) - groups.amin(-1)) / 15
    off = nn.functional.pad(found - weight, (0, -shape[1] % 32)).unflatten(1, (-1, 32)).norm(dim=-1)
    # At most what rounding to the plain grid of the group gives: half a step in each place, scales of 11 bits.
    assert (off <= 32**0.5 * span * (0.5 + 15 * 2**-11)).all()


@needs_kernels
@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_of_packing_agree(form: str, shape: tuple[int, int]) -> None:
    weight = weights(*shape)
    ours, plain = pack(weight, form), pack_plainly(weight, form)
    assert len(ours) == len(plain) == packed_bytes(form, *shape)
    one, other = unpack(ours, form, *shape), unpack(plain, form, *shape)
    # Sums in another order may settle a tie in the search the other way, in a few groups.
    assert ((one - weight).norm() - (other - weight).norm()).abs() <= 1e-3 * (one - weight).norm()
    assert (one != other).float().mean() < 0.05


@pytest.mark.parametrize("levels", [16, 12, 7, 3])
def test_int4_finds_a_grid_again(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    scale = torch.rand(64, 4, 1, generator=generator).half().float() + 0.5
    minimum = -torch.rand(64, 4, 1, generator=generator).half().float()
    weight = (torch.randint(levels, (64, 4, 32), generator=generator) * scale + minimum).flatten(1)
    found = unpack(pack(weight, "int4"), "int4", 64, 128)
    assert float((found - weight).abs().max()) < 0.02  # of steps from 0.5: float16 scales


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_constant_and_zero_weights(form: str) -> None:
    for value in (0.0, 0.25, -3.0):
        layer = PackedLinear(torch.full((40, 64), value), None, form)
        assert torch.allclose(layer.dequantised(), torch.full((40, 64), value), rtol=2**-11)
        assert not layer(torch.zeros(2, 64)).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_not_hidden(form: str, bad: float) -> None:
    layer = PackedLinear(weights(32, 64), None, form)
    x = torch.ones(2, 64)
    x[0, 40] = bad
    y = layer(x)
    assert not y[0].isfinite().any()
    assert y[1].isfinite().all()


def test_other_dtypes_and_shapes() -> None:
    layer = PackedLinear(weights(48, 64), None, "int8")
    x = inputs_of(6, 64)
    assert torch.equal(layer(x.double()), layer(x).double())
    assert layer(x.half()).dtype == torch.float16
    assert torch.equal(layer(x.view(2, 3, 64)), layer(x).view(2, 3, 48))
    assert torch.equal(layer(x.T.contiguous().T), layer(x))
    assert layer(x[:0]).shape == (0, 48)


@needs_kernels
def test_compiled_as_one_operation() -> None:
    layer = PackedLinear(weights(48, 64), torch.randn(48), "int4")
    x = inputs_of(3, 64)
    packed, bias = layer.packed, layer.bias_bytes
    linear_op = torch.ops.hogwild.linear
    assert torch.equal(linear_op(x, packed, bias, "int4", 48), layer(x))
    torch.library.opcheck(linear_op.default, (x, packed, bias, "int4", 48))


class Small(nn.Module):
    """Two linear layers, one of them tied to an embedding, and one that is no plain linear layer."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32, dtype=dtype)
        self.body = nn.ModuleList([nn.Linear(32, 32, dtype=dtype)])
        self.head = nn.Linear(32, 50, bias=False, dtype=dtype)
        self.head.weight = self.embedding.weight
        self.other = nn.Bilinear(4, 4, 4, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.head(self.body[0](self.embedding(tokens)))
        return x


@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_swapped_in_a_model(quantize: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Small(dtype)
    table = model.embedding.weight.clone()
    assert prepare_linears(model, quantize) == 2
    assert torch.equal(model.embedding.weight, table)
    again = copy.deepcopy(model).to(torch.float32)
    tokens = torch.arange(7)
    assert torch.allclose(again(tokens), model(tokens).float(), rtol=0.05, atol=0.05)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())


def test_float32_models_stay_as_they_are() -> None:
    assert prepare_linears(Small(torch.float32)) == 0


def test_bf16_needs_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "kernels", lambda: None)
    assert prepare_linears(Small(torch.bfloat16)) == 0


def test_unknown_format() -> None:
    with pytest.raises(OptionError, match="int8, int4"):
        prepare_linears(Small(torch.float32), "int3")


@pytest.mark.parametrize("form", FORMS)
def test_without_kernels(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = PackedLinear(weights(33, 37), torch.randn(33), form), inputs_of(3, 37)
    fast = layer(x)
    monkeypatch.setattr(linear, "kernels", lambda: None)
    slow = layer(x)
    assert ((slow.double() - fast.double()).abs() <= 2 * allowed(x, layer.dequantised(), form, slow)).all()
