#!/usr/bin/env python3
"""Compile the Triton kernels for NVIDIA GPUs that need not be here, and print what each variant takes.

For each: the head sizes, the rows of a tile, shared memory in bytes, registers a thread, and the bytes that a thread
spills. Nothing runs: this shows that the compiler takes the kernels, and how the tiles fit.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # else Triton 3.9 warns that its default will change

import torch
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hogwild.attention import triton_kernel
from hogwild.attention.triton_path import MERGED_AT_ONCE, padded, rows_of, tile_of, warps_of
from hogwild.geometry import Layer

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
SIZES = [(64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256)]
INTEGERS = ("query_head_stride", "query_token_stride", "slots", "entries", "window")


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, Any], target: int, warps: int) -> Any:
    """A kernel for one GPU generation. Addresses and strides are multiples of 16, as they are in the engine."""
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    aligned = [i for i, name in enumerate(kernel.arg_names) if signature[name][0] == "*" or name in INTEGERS[:3]]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs=constants,
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    return triton.compile(source, target=GPUTarget("cuda", target, 32), options={"num_warps": warps})


def attend(layer: Layer, dtype: torch.dtype, tokens: int, target: int, eight: bool = False) -> Any:
    """The first kernel for one shape; with ``eight`` for keys and values in 8 bits."""
    rows, stored = rows_of(layer, tokens, dtype), torch.empty(0, dtype=torch.int8 if eight else dtype)
    pointers = {"cos": "*fp32", "sin": "*fp32", "mixed": "*fp32", "peaks": "*fp32", "sums": "*fp32"}
    tables = dict.fromkeys(("swap", "pages", "splits", "turns", "places", "ends"), "*i32")
    data = {"query": f"*{NAMES[dtype]}"} | dict.fromkeys(("keys", "values"), "*i8" if eight else f"*{NAMES[dtype]}")
    numbers = dict.fromkeys(INTEGERS, "i32") | {"scale": "fp32", "softcap": "fp32"}
    constants = {"ROWS": rows, "ROTATES": True, "WIDEN": False, **tile_of(layer, stored, page_size=64)}
    types = pointers | tables | data | numbers
    return compiled(triton_kernel.attend_splits, types, constants, target, warps_of(layer, rows))


def merge(layer: Layer, dtype: torch.dtype, target: int) -> Any:
    """The second kernel for one shape."""
    types = {"mixed": "*fp32", "peaks": "*fp32", "sums": "*fp32", "merged": "*i32", "borders": "*i32"}
    types |= {"sinks": f"*{NAMES[dtype]}", "out": f"*{NAMES[dtype]}", "entries": "i32"}
    constants = {"HEADS": layer.heads, "GROUP": layer.group, "SINKS": True}
    constants |= {"VALUE_DIM": layer.value_dim, "VALUE_PAD": padded(layer.value_dim), "AT_ONCE": MERGED_AT_ONCE}
    return compiled(triton_kernel.merge_splits, types, constants, target, 4)


def usage(kernel: Any) -> tuple[int, int]:
    """Registers a thread, and bytes of its stack: what the compiler spills."""
    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(kernel.asm["cubin"])
        told = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    assert found is not None
    return int(found[1]), int(found[2])


def variants(quick: bool) -> Iterator[tuple[Layer, torch.dtype, int]]:
    """Layers, dtypes and tokens: one token of 7 query heads, and enough of them to fill a tile."""
    for key_dim, value_dim in [(128, 128)] if quick else SIZES:
        plain = Layer(heads=14, kv_heads=2, key_dim=key_dim, value_dim=value_dim, scale=1.0)
        special = Layer(14, 2, key_dim, value_dim, scale=1.0, window=512, softcap=30.0)
        for dtype in (torch.bfloat16,) if quick else (torch.bfloat16, torch.float16, torch.float32):
            yield plain, dtype, 1
            yield special, dtype, 16


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=int, default=90, help="80 for A100, 89 for L40S and RTX 4090, 90 for H100")
    parser.add_argument("--quick", action="store_true", help="head size 128 in bfloat16 only")
    arguments = parser.parse_args()
    print("kernel dtype key value rows shared registers spilled")
    for layer, dtype, tokens in variants(arguments.quick):
        made, rows = attend(layer, dtype, tokens, arguments.target), rows_of(layer, tokens, dtype)
        sizes = f"{NAMES[dtype]} {layer.key_dim} {layer.value_dim}"
        print("attend_splits", sizes, rows, made.metadata.shared, *usage(made), flush=True)
        if dtype == torch.bfloat16:
            made = attend(layer, dtype, tokens, arguments.target, eight=True)
            print("attend_splits", sizes.replace("bf16", "bf16,int8"), rows, made.metadata.shared, *usage(made))
        if rows == rows_of(layer, 1, dtype):
            made = merge(layer, dtype, arguments.target)
            print("merge_splits", sizes, 1, made.metadata.shared, *usage(made), flush=True)


if __name__ == "__main__":
    main()
