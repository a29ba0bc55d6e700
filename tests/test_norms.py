"""RMS norms by the kernel: which modules it takes over, and that it gives what they give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hogwild.models.norms import FusedNorm, fuse_norms, kernels
from tiny import tiny_model

pytestmark = pytest.mark.skipif(kernels() is None, reason="no compiled kernels here")


class Norm(nn.Module):
    """The norm in the ways in which models write it."""

    def __init__(self, dim: int, eps: float, added: float, round_first: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, generator=torch.Generator().manual_seed(1)))
        self.eps = eps
        self._added, self._round_first = int(added), round_first

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        if self._round_first:
            return (self.weight + self._added) * normed.to(x.dtype)
        return (normed * (self.weight.float() + self._added)).to(x.dtype)


class Centred(Norm):
    """Not an RMS norm: it takes the mean away."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(-1, keepdim=True))


def steps_apart(left: Tensor, right: Tensor) -> int:
    """The largest distance in steps of bfloat16."""
    return int((left.view(torch.int16).int() - right.view(torch.int16).int()).abs().max())


@pytest.mark.parametrize("dim", [16, 40, 576, 1536])
@pytest.mark.parametrize("round_first", [False, True])
@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_same_numbers(dim: int, round_first: bool, eps: float) -> None:
    norm = Norm(dim, eps, 0, round_first).bfloat16()
    x = torch.randn(3, 5, dim, generator=torch.Generator().manual_seed(2)).bfloat16()
    own = norm(x).detach()
    assert fuse_norms(nn.ModuleList([norm])) == 1
    with torch.inference_mode():
        found = norm(x)
        assert steps_apart(found, own) <= 1
        assert (found == own).float().mean() > 0.99
        assert torch.equal(norm(x[1:2, 3:4]), found[1:2, 3:4])  # a row does not depend on its neighbours
        assert steps_apart(norm(x.transpose(0, 1)), own.transpose(0, 1).contiguous()) <= 1


def test_one_may_be_added_to_the_weight() -> None:
    norm = Norm(64, 1e-6, 1, False).bfloat16()
    assert fuse_norms(nn.ModuleList([norm])) == 1
    fused = norm.forward
    assert isinstance(fused, FusedNorm)
    assert fused.form.added == 1


def test_what_is_left_alone() -> None:
    wide, other = Norm(64, 1e-6, 0, True), Centred(64, 1e-6, 0, True).bfloat16()
    assert (
        fuse_norms(nn.ModuleList([wide, other, nn.LayerNorm(64, bias=False).bfloat16(), nn.PReLU(64).bfloat16()])) == 0
    )


def test_gradients_take_the_modules_own_way() -> None:
    norm = Norm(64, 1e-6, 0, True).bfloat16()
    fuse_norms(nn.ModuleList([norm]))
    norm(torch.ones(1, 64, dtype=torch.bfloat16)).float().sum().backward()
    assert norm.weight.grad is not None


def test_a_model_keeps_its_logits() -> None:
    model = tiny_model("Llama").bfloat16()
    tokens = torch.arange(12)[None]
    with torch.inference_mode():
        own = model(input_ids=tokens).logits.float()
        assert fuse_norms(model) == sum(isinstance(m.__dict__.get("forward"), FusedNorm) for m in model.modules()) == 9
        assert (model(input_ids=tokens).logits.float() - own).abs().max() <= 0.02 * own.abs().max()
