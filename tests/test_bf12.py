"""bfloat16 in 12 bits: the same weights and the same products as in bfloat16, bit for bit, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hogwild import native
from hogwild.models.linear import PackedLinear, prepare_linears
from hogwild.models.packing import NotPackable, pack, pack_plainly, packed_bytes, unpack

SHAPES = ((64, 64), (33, 96), (5, 32), (192, 576), (1030, 160))

needs_bf12 = pytest.mark.skipif(native.instructions() != "avx512", reason="only the kernels for AVX-512 have bf12")


def few_exponents(shape: tuple[int, int], seed: int, count: int = 16) -> Tensor:
    """Any signs and fractions, and the exponents of any ``count`` of 256, infinities and NaN among them or not."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.randperm(256, generator=generator)[:count]
    exponents = exponents[torch.randint(count, shape, generator=generator)]
    bits = torch.randint(2, shape, generator=generator) << 15 | exponents << 7
    return (bits | torch.randint(128, shape, generator=generator)).to(torch.int16).view(torch.bfloat16)


def trained(shape: tuple[int, int]) -> Tensor:
    """Weights of the usual distribution, with zeros of both signs."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(shape[1])).div(shape[1] ** 0.5).bfloat16()
    weight[0, :2] = torch.tensor([0.0, -0.0])
    return weight


def bits_of(weight: Tensor) -> Tensor:
    return weight.contiguous().view(torch.int32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost(shape: tuple[int, int], seed: int) -> None:
    weight = few_exponents((-(-shape[0] // 32) * 32, shape[1]), seed)  # no panel is filled up with zeros
    weight = weight.float().bfloat16()  # what is no number is from now on a quiet one, as packing makes it
    packed = pack_plainly(weight, "bf12")
    assert len(packed) == packed_bytes("bf12", *weight.shape) < 0.8 * packed_bytes("bf16", *weight.shape)
    assert torch.equal(bits_of(unpack(packed, "bf12", *weight.shape)), bits_of(weight.float()))


@needs_bf12
@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_of_packing_agree(shape: tuple[int, int]) -> None:
    weight = trained(shape)
    assert torch.equal(pack(weight, "bf12"), pack_plainly(weight, "bf12"))
    assert torch.equal(pack(weight.float(), "bf12"), pack(weight, "bf12"))
    assert torch.equal(bits_of(unpack(pack(weight, "bf12"), "bf12", *shape)), bits_of(weight.float()))


@needs_bf12
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_products_are_those_of_bf16(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight, bias = trained(shape), torch.randn(shape[0])
    short, long = PackedLinear(weight, bias, "bf12"), PackedLinear(weight, bias, "bf16")
    assert short.form == "bf12"
    for rows in (*range(1, 10), 16, 17, 40, 130):
        x = torch.randn(rows, shape[1], generator=torch.Generator().manual_seed(rows)).to(dtype)
        assert torch.equal(short(x), long(x))


@needs_bf12
@pytest.mark.parametrize("seed", range(8))
def test_products_of_any_exponents(seed: int) -> None:
    weight, x = few_exponents((64, 96), seed), torch.randn(3, 96)
    found, wanted = PackedLinear(weight, None, "bf12")(x), PackedLinear(weight, None, "bf16")(x)
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.nan_to_num(), wanted.nan_to_num())


@pytest.mark.parametrize("way", [pack, pack_plainly])
def test_what_does_not_fit(way: Callable[[Tensor, str], Tensor]) -> None:
    one_more = torch.ones(64, 64).bfloat16()
    one_more[40, 33:50] = 2.0 ** torch.arange(17).bfloat16()
    for weight in (one_more, torch.ones(64, 48).bfloat16()):
        with pytest.raises(NotPackable):
            way(weight, "bf12")
        layer = PackedLinear(weight, None, "bf12")
        assert layer.form == "bf16"
        assert torch.equal(layer.weight, weight.float())
    one_more[40, 49] = 1.0
    assert torch.equal(unpack(pack_plainly(one_more, "bf12"), "bf12", 64, 64), one_more.float())


@needs_bf12
def test_models_in_bfloat16_use_it() -> None:
    model = nn.Sequential(nn.Linear(64, 40), nn.Linear(40, 64)).to(torch.bfloat16)
    assert prepare_linears(model) == 2
    assert [layer.form for layer in model] == ["bf12", "bf16"]
