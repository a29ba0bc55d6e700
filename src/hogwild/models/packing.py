"""The forms in which a linear layer's weights are stored: panels of 32 outputs, see native/linear.cpp.

Weights are packed by the kernels where they are there, and by the same rules in plain PyTorch where they are not.
Legend: N outputs, K inputs, P panels, G groups of 32 inputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from hogwild import native

FORMATS = {"bf16": 0, "int8": 1, "int4": 2, "bf12": 3}
"""The numbers by which the kernels know the formats. ``bf12`` is bfloat16 in 12 bits, to the last of its 16."""

PANEL = 32  # outputs
GROUP = 32  # inputs that share a scale, or in bf12, with the 32 outputs of a panel, a table
TABLE = 16  # different exponents
STEPS = (15, 14, 13, 12, 11, 10, 9, 8, 16, 17, 18)
"""Steps between the smallest and the largest weight of a group that are tried in int4; above 15, both ends are cut."""

_ROWS = 1024  # outputs that are packed at a time in PyTorch


class NotPackable(ValueError):
    """bf12 cannot hold a weight, as ``pack`` says, and some other form has to."""


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, their functions described; None where there are none."""
    library = native.library()
    if library is not None:
        number, size, place = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
        library.hogwild_linear.argtypes = [number, place, number, size, size, place, place, place, number, size, number]
        library.hogwild_linear.restype = None
        library.hogwild_linear_pack.argtypes = [number, place, number, size, size, place, number]
        library.hogwild_linear_pack.restype = ctypes.c_int
    return library


def packed_bytes(form: str, outputs: int, inputs: int) -> int:
    """How many bytes the weights [outputs, inputs] take; in bf12, ``inputs`` are whole groups."""
    panels, groups = -(-outputs // PANEL), -(-inputs // GROUP)
    if form == "bf12":
        return panels * (_tables_bytes(groups) + PANEL * inputs * 3 // 2)
    if form == "bf16":
        return panels * PANEL * (inputs + inputs % 2) * 2
    return panels * groups * PANEL * (GROUP + 2 if form == "int8" else GROUP // 2 + 4)


def pack(weight: Tensor, form: str) -> Tensor:
    """``weight`` [N, K], of any floating dtype, as bytes [`packed_bytes`].

    Raises `NotPackable` for bf12 if K are no whole groups, if a group of a panel has more than 16 exponents, or if the
    kernels do not know it, as only those for AVX-512 do.
    """
    library = kernels()
    if library is None:
        return pack_plainly(weight, form)
    weight = (weight if weight.dtype in {torch.bfloat16, torch.float32} else weight.float()).contiguous()
    packed = torch.empty(packed_bytes(form, *weight.shape), dtype=torch.uint8)
    wide = weight.dtype == torch.float32
    fits = library.hogwild_linear_pack(
        FORMATS[form], weight.data_ptr(), wide, *weight.shape, packed.data_ptr(), torch.get_num_threads()
    )
    if not fits:
        raise NotPackable
    return packed


def pack_plainly(weight: Tensor, form: str) -> Tensor:
    """The same in plain PyTorch, without the kernels."""
    how: dict[str, Callable[[Tensor], Tensor]]
    how = {"bf16": _pack_bf16, "int8": _pack_int8, "int4": _pack_int4, "bf12": _pack_bf12}
    if form == "bf12" and weight.shape[1] % GROUP:
        raise NotPackable
    parts = []
    for rows in weight.split(_ROWS):
        inputs = rows.shape[1]
        wanted = -inputs % (2 if form == "bf16" else GROUP)
        padded = torch.nn.functional.pad(rows.float(), (0, wanted, 0, -rows.shape[0] % PANEL))
        parts.append(how[form](padded).reshape(-1))
    return torch.cat(parts)


def unpack(packed: Tensor, form: str, outputs: int, inputs: int) -> Tensor:
    """The weights [outputs, inputs] in float32: just those that the kernels multiply with."""
    panels = packed.view(-(-outputs // PANEL), -1)  # [P, bytes]
    if form == "bf12":
        panels = _open(panels, inputs // GROUP)
    if form in {"bf16", "bf12"}:
        pairs = panels.view(torch.bfloat16).view(len(panels), -1, PANEL, 2).float()  # [P, K / 2, 32, 2]
        return pairs.transpose(1, 2).reshape(len(panels) * PANEL, -1)[:outputs, :inputs]
    groups = panels.view(len(panels), -(-inputs // GROUP), -1)  # [P, G, bytes]
    width = GROUP if form == "int8" else GROUP // 2
    levels, rest = groups.split([PANEL * width, groups.shape[-1] - PANEL * width], dim=-1)
    grid = rest.contiguous().view(torch.float16).float().unflatten(-1, (-1, PANEL))  # [P, G, 1 or 2, 32]
    levels = levels.unflatten(-1, (2, width // 4, 16, 4))  # [P, G, half, quad, output, input of the quad]
    if form == "int4":
        levels = torch.cat([levels & 15, levels >> 4], dim=3)
    numbers = levels.transpose(3, 4).reshape(*groups.shape[:2], PANEL, GROUP).float()  # [P, G, 32, 32]
    scale = grid[:, :, 0, :, None]
    weights: Tensor = (numbers - 128) * scale if form == "int8" else numbers * scale + grid[:, :, 1, :, None]
    return weights.transpose(1, 2).reshape(len(panels) * PANEL, -1)[:outputs, :inputs]


def _pack_bf16(weight: Tensor) -> Tensor:
    pairs = weight.bfloat16().view(-1, PANEL, weight.shape[1] // 2, 2)
    return pairs.transpose(1, 2).contiguous().view(torch.uint8)


def _pack_bf12(weight: Tensor) -> Tensor:
    bits = _pack_bf16(weight).view(torch.int16).view(-1, weight.shape[1] // GROUP, GROUP // 2, 2, 4, 8).long()
    bits = bits.transpose(3, 4).flatten(3)  # [P, G, pair, 64]: eight of its first half, eight of the second, and so on
    exponents = (bits >> 7 & 0xFF).flatten(2)
    there = torch.zeros(*bits.shape[:2], 256, dtype=torch.long).scatter(-1, exponents, 1)
    if there.sum(-1).max() > TABLE:
        raise NotPackable
    places = (there.cumsum(-1) - 1).gather(-1, exponents).view_as(bits)
    rest = bits >> 8 & 0x80 | bits & 0x7F
    lines = torch.stack([places[:, :, ::2] | places[:, :, 1::2] << 4, rest[:, :, ::2], rest[:, :, 1::2]], dim=3)
    tables = torch.arange(256).where(there > 0, 256).sort(-1).values[..., :TABLE] % 256  # zeros behind the last
    tables = torch.nn.functional.pad(tables.flatten(1), (0, _tables_bytes(bits.shape[1]) - TABLE * bits.shape[1]))
    return torch.cat([tables, lines.flatten(1)], dim=1).to(torch.uint8)


def _open(panels: Tensor, groups: int) -> Tensor:
    """Panels of bf12 as those of bf16, [P, bytes]."""
    tables = panels[:, : groups * TABLE].unflatten(1, (groups, TABLE)).long()
    lines = panels[:, _tables_bytes(groups) :].unflatten(1, (groups, GROUP // 4, 3, 64)).long()
    places = torch.stack([lines[:, :, :, 0] & 15, lines[:, :, :, 0] >> 4], dim=3).flatten(2)  # [P, G, 1024]
    rest = lines[:, :, :, 1:].flatten(2)
    bits = (rest & 0x80) << 8 | tables.gather(-1, places) << 7 | rest & 0x7F
    halves: Tensor = bits.unflatten(2, (GROUP // 2, 4, 2, 8)).transpose(3, 4)
    return halves.to(torch.int16).reshape(len(panels), -1).view(torch.uint8)


def _tables_bytes(groups: int) -> int:
    """The tables of a panel, in whole cache lines."""
    return -(-groups * TABLE // 64) * 64


def _pack_int8(weight: Tensor) -> Tensor:
    groups = _grouped(weight)
    scale = (groups.abs().amax(-1) / 127).half()
    levels = (groups * _inverse(scale)).round().clamp(-127, 127) + 128
    return torch.cat([_interleave(levels), _grid_bytes(scale)], dim=-1)


def _pack_int4(weight: Tensor) -> Tensor:
    groups = _grouped(weight)
    low, high = groups.amin(-1), groups.amax(-1)
    best, enough = torch.full_like(low, torch.inf), 1e-5 * groups.square().sum(-1)
    levels, scale, minimum = torch.zeros_like(groups), torch.zeros_like(low).half(), low.half()
    for steps in STEPS:
        cut = (high - low) * max(steps - 15, 0) / (2 * steps)
        fitted = _refit(groups, ((high - low) / steps).half(), (low + cut).half())
        found = _nearest(groups, *fitted)
        errors = (groups - found * fitted[0].float()[..., None] - fitted[1].float()[..., None]).square().sum(-1)
        better = (errors < best) & (best > enough)
        best = torch.where(better, errors, best)
        levels = torch.where(better[..., None], found, levels)
        scale, minimum = torch.where(better, fitted[0], scale), torch.where(better, fitted[1], minimum)
    bytes_ = _interleave(levels).unflatten(-1, (2, 2, -1))  # [P, G, half, lower or upper 16 inputs, bytes]
    nibbles = (bytes_[:, :, :, 0] | bytes_[:, :, :, 1] << 4).flatten(2)
    return torch.cat([nibbles, _grid_bytes(scale), _grid_bytes(minimum)], dim=-1)


def _nearest(groups: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    return ((groups - minimum.float()[..., None]) * _inverse(scale)).round().clamp(0, 15)


def _refit(groups: Tensor, scale: Tensor, minimum: Tensor) -> tuple[Tensor, Tensor]:
    """The scale and minimum that fit best to the levels which ``scale`` and ``minimum`` give: least squares."""
    levels = _nearest(groups, scale, minimum)
    sum_q, sum_w = levels.sum(-1), groups.sum(-1)
    spread = GROUP * levels.square().sum(-1) - sum_q.square()
    slope = (GROUP * (levels * groups).sum(-1) - sum_q * sum_w) / spread.clamp(min=1)
    fits = (spread > 0) & (slope > 0)
    return torch.where(fits, slope.half(), scale), torch.where(fits, ((sum_w - slope * sum_q) / GROUP).half(), minimum)


def _inverse(scale: Tensor) -> Tensor:
    wide = scale.float()[..., None]
    smallest = 2.0**-24  # of float16
    inverse: Tensor = torch.where(wide > 0, 1 / wide.clamp(min=smallest), 0)
    return inverse


def _grouped(weight: Tensor) -> Tensor:
    """[N, K] as [P, G, 32 outputs, 32 inputs]."""
    return weight.view(-1, PANEL, weight.shape[1] // GROUP, GROUP).transpose(1, 2)


def _interleave(levels: Tensor) -> Tensor:
    """[P, G, 32, 32] as bytes [P, G, half, quad of inputs, output, input of the quad], flat from the third on."""
    parts = levels.to(torch.uint8).unflatten(-1, (GROUP // 4, 4)).unflatten(2, (2, 16))
    flat: Tensor = parts.transpose(3, 4).flatten(2)
    return flat


def _grid_bytes(numbers: Tensor) -> Tensor:
    as_bytes: Tensor = numbers.contiguous().view(torch.uint8)
    return as_bytes
