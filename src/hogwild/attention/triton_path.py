"""Concurrent attention by the Triton kernels: tables on the device, tiles that fit, and the two launches.

Legend: see `hogwild.attention.tables`; H query heads, K KV heads, G = H / K, D key size, V value size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
import torch
import triton
from torch import Tensor

from hogwild.attention.plan import Plan
from hogwild.attention.tables import SPLIT_FIELDS, Ints, Tables, make_tables
from hogwild.attention.triton_kernel import INTERPRETED, attend_splits, merge_splits
from hogwild.cache.int8 import SCALE_BYTES
from hogwild.errors import ModelUnsupported
from hogwild.geometry import Layer, Rotary

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

MOST_ROWS = 64
"""Queries in a tile, half as many in float32: more would not fit the registers of a program at head size 128."""

TILE_BYTES = 32 << 10
"""Keys and values that a program holds at a time; Triton keeps two or three of these under way in shared memory."""

PROGRAMS = 2
"""Programs wanted for each processor of the device."""

WARP_NUMBERS = 64 * 64
"""Numbers of a tile from which on a program has 8 warps: with 4, the compiler runs out of registers and spills."""

MERGED_AT_ONCE = 16
ALIGNED = 4  # int32 in 16 bytes
LARGEST_HEAD = 256
SMALLEST_PAGE = 16  # the least that Triton multiplies

Kind = tuple[Rotary, int]
"""What a rotation depends on beside the offsets: the layer's RoPE and its head size."""


@dataclass(frozen=True)
class Turns:
    """Rotations by the extra offsets of a pass, for layers of one kind."""

    cos: Tensor  # [U, D] float32
    sin: Tensor  # [U, D] float32
    swap: Tensor  # [D] int32


@dataclass(frozen=True)
class DeviceTables:
    """What the kernels need of a pass. The sizes may be larger than the pass: a split with no token does nothing."""

    pages: Tensor  # [N] int32, and so the next six
    splits: Tensor  # [S, SPLIT_FIELDS]
    turns: Tensor  # [P]
    places: Tensor  # [P]
    ends: Tensor  # [P]
    merged: Tensor  # [E]
    borders: Tensor  # [T + 1]
    rotations: dict[Kind, Turns]
    page_size: int
    entries: int
    most_tokens: int
    rotates: bool


def kind_of(layer: Layer) -> Kind | None:
    """The kind of a layer's rotation, or None where it has no positions."""
    return None if layer.rotary is None else (layer.rotary, layer.key_dim)


class Turner:
    """Makes the rotations of one kind, where its frequencies are; the angles are float64."""

    def __init__(self, kind: Kind, device: torch.device) -> None:
        rotary, head_dim = kind
        turns, swap = rotary.signed(head_dim)
        self._turns, self._swap = turns.to(device), swap.int().to(device)

    def __call__(self, offsets: Tensor) -> Turns:
        """The rotations by ``offsets`` [U], which are on the same device."""
        angles = offsets.double()[:, None] * self._turns
        return Turns(angles.cos().float(), angles.sin().float(), self._swap)


class TritonAttention:
    """The same as `plain_attention`, called in the same way. What it needs of a pass is made once and kept in the plan.

    ``splits``: into how many parts all pages of a pass are split, about; by default as many as keep a GPU busy.
    Raises `ModelUnsupported` for what the kernels cannot do (float64, heads over 256, pages under 16 tokens).
    """

    def __init__(self, splits: int | None = None) -> None:
        self._splits = splits
        self._turners = dict[Kind, Turner]()

    def __call__(self, query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
        """Attend from ``query`` [H, T, D] to ``keys`` [K, slots, D] and ``values`` [K, slots, V]; gives [T, H, V]."""
        if type(self) not in plan.shared:
            tables = make_tables(plan, self._splits or splits_wanted(layer, query.device), tile_tokens(layer))
            plan.shared[type(self)] = (tables, to_device(tables, {}, query.device))
        tables, ready = plan.shared[type(self)]
        kind = kind_of(layer)
        if kind is not None and kind not in ready.rotations and tables.rotates:
            if kind not in self._turners:
                self._turners[kind] = Turner(kind, query.device)
            ready.rotations[kind] = self._turners[kind](torch.from_numpy(tables.offsets).to(query.device))
        check_supported(layer, query, keys, ready.page_size)
        return launch(query, layer, keys, values, ready)


def to_device(tables: Tables, rotations: dict[Kind, Turns], device: torch.device) -> DeviceTables:
    """The tables on the device, in one copy."""
    parts = numbers_of(tables)
    firsts = borders_of([part.size for part in parts])
    together = np.zeros(firsts[-1], dtype=np.int32)
    for first, part in zip(firsts, parts, strict=False):
        together[first : first + part.size] = part
    copied = torch.from_numpy(together).to(device)
    pages, splits, *others = (copied[first : first + part.size] for first, part in zip(firsts, parts, strict=False))
    turns, places, ends, merged, borders = others
    return DeviceTables(
        pages=pages,
        splits=splits.view(-1, SPLIT_FIELDS),
        turns=turns,
        places=places,
        ends=ends,
        merged=merged,
        borders=borders,
        rotations=rotations,
        page_size=tables.page_size,
        entries=tables.entries,
        most_tokens=tables.most_tokens,
        rotates=tables.rotates,
    )


def numbers_of(tables: Tables) -> tuple[Ints, ...]:
    """All int32 of the tables, in the order in which `DeviceTables` has them."""
    splits = tables.splits.reshape(-1)
    return tables.pages, splits, tables.turns, tables.places, tables.ends, tables.merged, tables.borders


def borders_of(sizes: Sequence[int]) -> list[int]:
    """Where tables of these sizes begin in one run of int32, and where the last one ends.

    Each begins at a multiple of 16 bytes, as Triton compiles anew for addresses that are none.
    """
    return [0, *accumulate(-(-size // ALIGNED) * ALIGNED for size in sizes)]


def supports(layer: Layer, dtype: torch.dtype) -> bool:
    """Whether the kernels can do a layer with queries or keys of ``dtype``; int8 is for keys (`hogwild.cache.int8`)."""
    dims = (layer.key_dim, layer.value_dim)
    if dtype == torch.int8:
        return max(dims) <= LARGEST_HEAD and all(
            dim % SCALE_BYTES == 0 for dim in dims
        )  # scales at their own addresses
    return dtype in DTYPES and max(dims) <= LARGEST_HEAD


def check_supported(layer: Layer, query: Tensor, keys: Tensor, page_size: int) -> None:
    """Raise `ModelUnsupported` for what the kernels cannot do."""
    if not (supports(layer, keys.dtype) and supports(layer, query.dtype) and query.dtype != torch.int8):
        raise ModelUnsupported(
            f"the Triton kernels read float32, float16, bfloat16 and 8 bits and heads of up to {LARGEST_HEAD}, not "
            f"{query.dtype} queries, {keys.dtype} keys and heads of {layer.key_dim} and {layer.value_dim}: "
            "use --attention plain"
        )
    if page_size < SMALLEST_PAGE or page_size & (page_size - 1):
        raise ModelUnsupported(
            f"the Triton kernels take pages of a power of 2 from {SMALLEST_PAGE} tokens on, not {page_size}"
        )


def splits_wanted(layer: Layer, device: torch.device) -> int:
    """As many splits as give each processor of the device `PROGRAMS` programs."""
    return max(1, PROGRAMS * _processors(device) // layer.kv_heads)


def tile_tokens(layer: Layer) -> int:
    """How many tokens a program takes at a time."""
    return max(1, MOST_ROWS // layer.group)


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def launch(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, tables: DeviceTables) -> Tensor:
    """Both kernels, for one layer: ``query`` [H, T, D] to [T, H, V]."""
    if query.stride(-1) != 1:
        query = query.contiguous()
    heads, tokens, group = layer.heads, query.shape[1], layer.group
    shape = (layer.kv_heads, tables.entries, group)
    mixed = query.new_empty(*shape, layer.value_dim, dtype=torch.float32)
    peaks, sums = query.new_empty(shape, dtype=torch.float32), query.new_empty(shape, dtype=torch.float32)
    out = query.new_empty(tokens, heads, layer.value_dim)
    kind = kind_of(layer)
    turns = tables.rotations[kind] if tables.rotates and kind is not None else None
    rows = rows_of(layer, tables.most_tokens, query.dtype)
    attend_splits[(tables.splits.shape[0], layer.kv_heads, -(-tables.most_tokens * group // rows))](
        query,
        keys,
        values,
        turns.cos if turns else peaks,  # what is not read needs some address
        turns.sin if turns else peaks,
        turns.swap if turns else tables.pages,
        tables.pages,
        tables.splits,
        tables.turns,
        tables.places,
        tables.ends,
        mixed,
        peaks,
        sums,
        query.stride(0),
        query.stride(1),
        keys.shape[1],
        tables.entries,
        layer.scale,
        layer.softcap or 1.0,
        layer.window or 0,
        ROWS=rows,
        ROTATES=turns is not None,
        WIDEN=INTERPRETED or keys.dtype not in (query.dtype, torch.int8),
        num_warps=warps_of(layer, rows),
        **tile_of(layer, keys, page_size=tables.page_size),
    )
    merge_splits[(tokens, heads)](
        mixed,
        peaks,
        sums,
        tables.merged,
        tables.borders,
        peaks if layer.sinks is None else layer.sinks.to(query.device),
        out,
        tables.entries,
        HEADS=heads,
        GROUP=group,
        VALUE_DIM=layer.value_dim,
        VALUE_PAD=padded(layer.value_dim),
        SINKS=layer.sinks is not None,
        AT_ONCE=MERGED_AT_ONCE,
    )
    return out


def padded(dim: int) -> int:
    """The size of a tile that holds ``dim``: Triton counts in powers of 2, from 16 on."""
    return int(max(triton.next_power_of_2(dim), 16))


def rows_of(layer: Layer, tokens: int, dtype: torch.dtype) -> int:
    """The queries of a tile, when ``tokens`` tokens read a block."""
    return int(min(padded(tokens * layer.group), MOST_ROWS * 2 // dtype.itemsize))


def warps_of(layer: Layer, rows: int) -> int:
    """The warps of a program."""
    return 8 if rows * max(padded(layer.key_dim), padded(layer.value_dim)) > WARP_NUMBERS else 4


def tile_of(layer: Layer, keys: Tensor, page_size: int) -> dict[str, int | bool]:
    """What of a launch depends on the layer and the pool alone; Triton compiles once for each of these."""
    key_pad, value_pad = padded(layer.key_dim), padded(layer.value_dim)
    columns = min(page_size, 64)
    size = max(keys.dtype.itemsize, 2)  # 8 bits become 16 before they are multiplied
    while columns > SMALLEST_PAGE and columns * (key_pad + value_pad) * size > TILE_BYTES:
        columns //= 2
    return {
        "FIELDS": SPLIT_FIELDS,
        "GROUP": layer.group,
        "KEY_DIM": layer.key_dim,
        "VALUE_DIM": layer.value_dim,
        "KEY_PAD": key_pad,
        "VALUE_PAD": value_pad,
        "PAGE": page_size,
        "COLUMNS": columns,
        "CAPPED": layer.softcap is not None,
        "WINDOWED": layer.window is not None,
        "EIGHT": SCALE_BYTES if keys.dtype == torch.int8 else 0,
    }
