"""What attention needs to know of each layer of a model: shapes, rotary positions, window, scale.

Legend: N rotations, D head size, R rotated dims of a head (R <= D, even).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Pairing = Literal["half", "interleaved"]


@dataclass(frozen=True)
class Rotation:
    """A batch of exact rotations, ready to apply: ``x * cos + x[..., swap] * sin`` (see `Rotary.rotation`)."""

    cos: Tensor  # [N, D]
    sin: Tensor  # [N, D], signed; zero where a dim is not rotated
    swap: Tensor  # [D], the partner of each dim
    halves: bool = False  # whether that is the same dim of the other half: a roll is ten times as fast as picking dims

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate ``x`` [..., N, D] (or [..., D] with N = 1). Computes in the dtype of the tables."""
        wide = x.to(self.cos.dtype)
        partner = wide.roll(len(self.swap) // 2, -1) if self.halves else wide.index_select(-1, self.swap)
        return wide * self.cos + partner * self.sin


@dataclass(frozen=True, eq=False)
class Rotary:
    """The rotary position embedding of a layer.

    Dim ``start + j`` is paired with ``start + j + R/2`` (``half``, as in GPT-NeoX) or dims ``start + 2j`` and
    ``start + 2j + 1`` are paired (``interleaved``, as in GPT-J); pair j turns by ``position * inv_freq[j]``. A scale
    inside the model's cos and sin (YaRN's attention factor) is no part of it: the extra rotation is a pure one.
    """

    inv_freq: Tensor  # [R/2] float64, on the CPU
    pairing: Pairing
    start: int = 0

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The first and second dim of each pair, two tensors [R/2]."""
        half = len(self.inv_freq)
        j = torch.arange(half)
        if self.pairing == "half":
            return self.start + j, self.start + j + half
        return self.start + 2 * j, self.start + 2 * j + 1

    def signed(self, head_dim: int) -> tuple[Tensor, Tensor]:
        """What each dim turns by in a position, with the sign of its partner's share: float64 [D]; and ``swap`` [D].

        The rotation by p is so ``x * cos(p * turns) + x[..., swap] * sin(p * turns)``; what is not rotated has 0.
        """
        first, second = self.pairs()
        turns, swap = torch.zeros(head_dim, dtype=torch.float64), torch.arange(head_dim)
        turns[first], turns[second] = -self.inv_freq, self.inv_freq
        swap[first], swap[second] = second, first
        return turns, swap

    def rotation(self, offsets: Tensor, head_dim: int, dtype: torch.dtype, device: torch.device) -> Rotation:
        """Rotations by ``offsets`` [N] positions (any integers). Angles are float64, whatever ``dtype`` is."""
        angles = offsets.double()[:, None] * self.inv_freq[None, :]  # [N, R/2]
        first, second = self.pairs()
        cos = torch.ones(len(offsets), head_dim, dtype=torch.float64)
        sin = torch.zeros(len(offsets), head_dim, dtype=torch.float64)
        swap = torch.arange(head_dim)
        cos[:, first] = cos[:, second] = angles.cos()
        sin[:, second] = angles.sin()
        sin[:, first] = -sin[:, second]
        swap[first], swap[second] = second, first
        halves = torch.equal(swap, torch.arange(head_dim).roll(head_dim // 2))
        return Rotation(cos.to(device, dtype), sin.to(device, dtype), swap.to(device), halves)


@dataclass(frozen=True)
class Layer:
    """One attention layer, as measured on the model at load (`hogwild.models.probe`)."""

    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    scale: float
    rotary: Rotary | None = None  # None: the layer has no positions (NoPE)
    window: int | None = None  # a token sees the last `window` positions of its view, itself included
    softcap: float | None = None  # scores become softcap * tanh(scores / softcap)
    sinks: Tensor | None = field(default=None, compare=False)  # [heads], one more logit in each softmax

    @property
    def group(self) -> int:
        """Query heads for each KV head."""
        return self.heads // self.kv_heads


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that softmax and rotations work in: float64 for float64 models, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
