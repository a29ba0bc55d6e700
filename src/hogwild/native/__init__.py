"""The compiled kernels, if they are there: plain C functions, called by ctypes with the addresses of tensors.

Everything that uses them has a path in plain PyTorch beside it. There is a library for AMX, one for AVX-512 with bf16
and VNNI, and one for AVX2; the first that the processor can run is taken. HOGWILD_NATIVE=0 switches them off, and
HOGWILD_NATIVE=avx512 or avx2 takes those for fewer instructions.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch  # its OpenMP must be loaded first: the kernels then share its threads

__all__ = ["fast_bfloat16", "instructions", "library", "load", "status"]


@cache
def _chosen() -> tuple[ctypes.CDLL | None, str]:
    from hogwild.native import build  # not before: `python -m hogwild.native.build` imports this package first

    wanted = os.environ.get("HOGWILD_NATIVE", "")
    if wanted == "0":
        return None, "switched off by HOGWILD_NATIVE=0"
    if wanted not in {"", "1", *build.INSTRUCTIONS}:
        *others, last = build.INSTRUCTIONS
        return None, f"HOGWILD_NATIVE is {wanted!r}: give {', '.join(['0', *others])} or {last}"
    reason = ""
    for name in build.INSTRUCTIONS if wanted in {"", "1"} else [wanted]:
        library, reason = load(name)
        if library is not None:
            return library, name
    return None, reason


def load(instructions: str) -> tuple[ctypes.CDLL | None, str]:
    """The library for one of `hogwild.native.build.INSTRUCTIONS`, or None and the reason in a few words."""
    from hogwild.native import build

    path = build.library(instructions)
    if not path.is_file():
        return None, "not built; with a C++ compiler: python -m hogwild.native.build"
    try:
        loaded = ctypes.CDLL(str(path))
        loaded.hogwild_sources.restype = ctypes.c_char_p
        made_of = loaded.hogwild_sources().decode()
    except (OSError, AttributeError) as error:
        return None, f"{path.name} cannot be loaded: {error}"
    if made_of != build.sources_hash():
        return None, "older than their sources: python -m hogwild.native.build"
    if not loaded.hogwild_supported():
        return None, f"this processor lacks {NEEDED[instructions]}"
    return loaded, "ready"


NEEDED = {"amx": "AMX with bf16", "avx512": "AVX-512 with bf16 and VNNI", "avx2": "AVX2 with FMA and F16C"}
"""The instructions that each library needs."""


def library() -> ctypes.CDLL | None:
    """The shared library, or None where it is not there or cannot run on this processor (`status` says why)."""
    return _chosen()[0]


def instructions() -> str | None:
    """Which of `NEEDED` the kernels use, or None where there are none."""
    found, name = _chosen()
    return None if found is None else name


def status() -> str:
    """Why there are no kernels, in a few words, or "ready" and what they use."""
    used = instructions()
    return _chosen()[1] if used is None else f"ready, with {NEEDED[used]}"


def fast_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without them it is slower than float32.

    False where PyTorch does not tell, as older ones do not.
    """
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(there) for name, there in found.items() if "bf16" in name)
