"""The compiled kernels, if they are there: plain C functions, called by ctypes with the addresses of tensors.

Everything that uses them has a path in plain PyTorch beside it. HOGWILD_NATIVE=0 switches them off.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch  # its OpenMP must be loaded first: the kernels then share its threads

__all__ = ["fast_bfloat16", "library", "status"]


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    from hogwild.native import build  # not before: `python -m hogwild.native.build` imports this package first

    if os.environ.get("HOGWILD_NATIVE") == "0":
        return None, "switched off by HOGWILD_NATIVE=0"
    if not build.LIBRARY.is_file():
        return None, "not built; with a C++ compiler: python -m hogwild.native.build"
    try:
        loaded = ctypes.CDLL(str(build.LIBRARY))
        loaded.hogwild_sources.restype = ctypes.c_char_p
        made_of = loaded.hogwild_sources().decode()
    except (OSError, AttributeError) as error:
        return None, f"{build.LIBRARY.name} cannot be loaded: {error}"
    if made_of != build.sources_hash():
        return None, "older than their sources: python -m hogwild.native.build"
    if not loaded.hogwild_supported():
        return None, "this processor lacks AVX-512 with bf16 and VNNI"
    return loaded, "ready"


def library() -> ctypes.CDLL | None:
    """The shared library, or None where it is not there or cannot run on this processor (`status` says why)."""
    return _load()[0]


def status() -> str:
    """Why there are no kernels, in a few words, or "ready"."""
    return _load()[1]


def fast_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without them it is slower than float32.

    False where PyTorch does not tell, as older ones do not.
    """
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(there) for name, there in found.items() if "bf16" in name)
