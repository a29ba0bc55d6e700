"""RMS norms in one call of a kernel (native/norm.cpp) where PyTorch takes six small ones.

Which modules are such norms is measured, as everything about a model is: one that has a single parameter, a vector, is
asked for the norms of some rows, and served by the kernel if one of its forms gives the same numbers. bfloat16 on the
CPU only: in wider dtypes everything stays exactly as the model has it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

from hogwild import native

SCALES = (1e-3, 1.0, 40.0)
"""The sizes of the rows that a module is asked about: small ones show its epsilon."""

ALIKE = 0.995
"""The share of the numbers that must be the same; others may be one step of bfloat16 off: sums have another order."""


@dataclass(frozen=True)
class Form:
    """One way to write the norm: the epsilon, what is added to the weight, and which rounding comes first."""

    eps: float
    added: float
    round_first: bool


class FusedNorm:
    """The norm of x [..., D] in bfloat16, for a module whose own ``forward`` serves everything else.

    Attributes: ``form``, how the module writes it.
    """

    def __init__(self, module: nn.Module, weight: Tensor, form: Form) -> None:
        self._own = type(module).forward
        self._module = module
        self._weight = (weight.detach().float() + form.added).contiguous()
        self.form = form

    def __call__(self, x: Tensor) -> Tensor:
        """As the module's ``forward``."""
        fits = x.dtype == torch.bfloat16 and x.is_contiguous() and not torch.is_grad_enabled()
        # In this order: a compiler must not look into the search for the kernels.
        if torch.compiler.is_compiling() or not fits or (library := kernels()) is None:
            own: Tensor = self._own(self._module, x)
            return own
        y, dim = torch.empty_like(x), len(self._weight)
        library.hogwild_rms_norm(
            x.data_ptr(),
            self._weight.data_ptr(),
            self.form.eps,
            self.form.round_first,
            y.data_ptr(),
            x.numel() // dim,
            dim,
            torch.get_num_threads(),
        )
        return y


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, the norm described; None where there are none."""
    library = native.library()
    if library is not None:
        place, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        library.hogwild_rms_norm.argtypes = [place, place, ctypes.c_float, number, place, size, size, number]
        library.hogwild_rms_norm.restype = None
    return library


@torch.inference_mode()
def fuse_norms(model: nn.Module) -> int:
    """Let the kernel serve the RMS norms of a model in bfloat16 on the CPU; returns how many there are."""
    if kernels() is None:
        return 0
    return sum(_fuse(module) for module in model.modules())


def _fuse(module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    if next(module.children(), None) is not None or len(tensors) != 1 or tensors[0].dim() != 1:
        return False
    weight = tensors[0]
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return False
    generator = torch.Generator().manual_seed(0)
    rows = [scale * torch.randn(1, 2, len(weight), generator=generator) for scale in SCALES]
    probe = torch.cat(rows).bfloat16()  # [3, 2, D]
    try:
        wanted = module(probe)
    except Exception:  # it is something else, and takes other arguments
        return False
    if not isinstance(wanted, Tensor) or wanted.shape != probe.shape or wanted.dtype != probe.dtype:
        return False
    for form in _forms(module):
        fused = FusedNorm(module, weight, form)
        if _alike(fused(probe), wanted):
            module.forward = fused
            return True
    return False


def _forms(module: nn.Module) -> Iterator[Form]:
    numbers = {value for value in vars(module).values() if isinstance(value, float) and 0 <= value < 0.1}
    for eps, added, round_first in product(sorted(numbers), (0.0, 1.0), (True, False)):
        yield Form(eps, added, round_first)


def _alike(found: Tensor, wanted: Tensor) -> bool:
    steps = (found.view(torch.int16).int() - wanted.view(torch.int16).int()).abs()
    return bool(wanted.isfinite().all() and steps.max() <= 1 and (steps == 0).float().mean() >= ALIKE)
