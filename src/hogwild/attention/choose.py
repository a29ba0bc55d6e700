"""Which attention function an engine uses: by name, or the fastest one that works where the engine is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hogwild import native
from hogwild.attention.fused import DTYPES, FusedAttention
from hogwild.attention.plain import plain_attention
from hogwild.attention.plan import Plan
from hogwild.attention.reference import reference_attention
from hogwild.errors import OptionError
from hogwild.geometry import Layer

AttentionFunction = Callable[[Tensor, Layer, Tensor, Tensor, Plan], Tensor]
"""``f(query [H, T, D], layer, keys [K, slots, D], values [K, slots, V], plan)`` gives [T, H, V]."""

NAMES = ("auto", "plain", "fused", "reference")


def choose_attention(name: str, device: torch.device, dtype: torch.dtype) -> AttentionFunction:
    """The attention function of that name, for keys of ``dtype`` on ``device``. Raises `OptionError`.

    ``auto`` is the compiled kernel where it is built and the dtype is one of its own, else plain PyTorch.
    """
    if name not in NAMES:
        raise OptionError(f"attention is {name!r}: give one of {', '.join(NAMES)}")
    library, fits = native.library(), device.type == "cpu" and dtype in DTYPES
    if name == "reference":
        return reference_attention
    if name == "plain" or (name == "auto" and (library is None or not fits)):
        return plain_attention
    if library is None:
        raise OptionError(f"attention 'fused' needs the compiled kernels: {native.status()}")
    if not fits:
        raise OptionError(f"attention 'fused' is for bfloat16 and float32 on the CPU, not for {dtype} on {device}")
    return FusedAttention(library)
