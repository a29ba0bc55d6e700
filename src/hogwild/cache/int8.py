"""Keys and values in 8 bits: each row of a head is its numbers, -127 to 127, and then their scale, four bytes more.

A row is so one run of int8 numbers that can be copied as it is. It is off by at most half its scale, which is the
largest of its numbers over 127.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE_BYTES = 4


def pack(rows: Tensor) -> Tensor:
    """``rows`` [..., D] as int8 [..., D + 4], each with a scale of its own."""
    wide = rows.float()
    scales = wide.abs().amax(-1, keepdim=True) / 127
    numbers = torch.round(wide / torch.where(scales > 0, scales, 1)).to(torch.int8)
    return torch.cat([numbers, scales.contiguous().view(torch.int8)], -1)


def unpack(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """What `pack` has made [..., D + 4], as numbers of ``dtype`` [..., D]; rows of other dtypes are given back."""
    if stored.dtype != torch.int8:
        return stored
    scales = stored[..., -SCALE_BYTES:].contiguous().view(torch.float32)
    return (stored[..., :-SCALE_BYTES] * scales).to(dtype)
