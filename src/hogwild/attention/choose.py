"""Which attention function an engine uses: by name, or the fastest one that works where the engine is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

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

NAMES = ("auto", "plain", "fused", "triton", "varlen", "reference")


def choose_attention(
    name: str, device: torch.device, dtype: torch.dtype, layers: Sequence[Layer] = ()
) -> AttentionFunction:
    """The attention function of that name, for keys of ``dtype`` on ``device``. Raises `OptionError`.

    ``auto`` is the fastest that takes the ``layers``: on the CPU the compiled kernel where it is built and the dtype is
    one of its own, on CUDA the Triton kernels where Triton is installed, else plain PyTorch.
    """
    if name not in NAMES:
        raise OptionError(f"attention is {name!r}: give one of {', '.join(NAMES)}")
    if name == "auto":
        name = _fastest(device, dtype, layers)
    if name == "reference":
        return reference_attention
    if name == "fused":
        return _fused(device, dtype)
    if name == "triton":
        return _triton(device)
    if name == "varlen":
        from hogwild.attention.varlen import VarlenAttention, activate

        activate(device, dtype)  # before the function is imported, which older PyTorch has not
        return VarlenAttention()
    return plain_attention


def _fastest(device: torch.device, dtype: torch.dtype, layers: Sequence[Layer]) -> str:
    if device.type == "cpu" and dtype in DTYPES and native.library() is not None:
        return "fused"
    if device.type == "cuda" and find_spec("triton") is not None:
        from hogwild.attention.triton_path import supports

        return "triton" if all(supports(layer, dtype) for layer in layers) else "plain"
    return "plain"


def _fused(device: torch.device, dtype: torch.dtype) -> AttentionFunction:
    library = native.library()
    if library is None:
        raise OptionError(f"attention 'fused' needs the compiled kernels: {native.status()}")
    if device.type != "cpu" or dtype not in DTYPES:
        raise OptionError(f"attention 'fused' is for bfloat16 and float32 on the CPU, not for {dtype} on {device}")
    return FusedAttention(library)


def _triton(device: torch.device) -> AttentionFunction:
    if find_spec("triton") is None:
        raise OptionError("attention 'triton' needs Triton: pip install 'hogwild[gpu]'")
    from hogwild.attention.triton_kernel import INTERPRETED
    from hogwild.attention.triton_path import TritonAttention

    if (device.type == "cuda") == INTERPRETED:
        raise OptionError(
            f"attention 'triton' runs on CUDA, not on {device}; on the CPU it runs in Triton's interpreter, slowly, "
            f"where TRITON_INTERPRET=1 is in the environment (it is {'' if INTERPRETED else 'not '}there)"
        )
    return TritonAttention()
