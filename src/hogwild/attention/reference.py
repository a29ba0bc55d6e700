"""The definition of concurrent attention, in the plainest way. Everything faster is tested against it.

For each new token alone: write out the view of its worker as one contiguous sequence, turn every key to its
position in it, turn the query to its own, and attend as any transformer does. Nothing is shared or saved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hogwild.attention.plan import Plan, Reading
from hogwild.cache.int8 import unpack
from hogwild.geometry import Layer


def reference_attention(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
    """The same as `plain_attention`, with the same arguments, computed from scratch in float64."""
    rows, first = list[Tensor](), 0
    for reading in plan.readings:
        for j in range(reading.count):
            rows.append(_one_token(query[:, first + j], layer, keys, values, reading, j))
        first += reading.count
    return torch.stack(rows).to(query.dtype)  # [T, H, V]


def _one_token(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, reading: Reading, j: int) -> Tensor:
    """Attention of the row's new token ``j``: query [H, D] to [H, V]."""
    parts = list(zip(reading.view, reading.lengths, reading.starts, strict=True))
    local = reading.lengths[-1] - reading.count + j
    here = reading.starts[-1] + local  # the token's position in its view
    turned_keys, view_values = list[Tensor](), list[Tensor]()
    for block, length, start in parts:
        slots = block.slots(0, length)
        turned_keys.append(_turn(unpack(keys[:, slots], torch.float64).double(), layer, start))
        view_values.append(unpack(values[:, slots], torch.float64).double())
    sequence, contents = torch.cat(turned_keys, 1), torch.cat(view_values, 1)  # [K, L, D], [K, L, V]
    sequence, contents = sequence[:, : here + 1], contents[:, : here + 1]
    if layer.window is not None:
        sequence, contents = sequence[:, -layer.window :], contents[:, -layer.window :]
    turned = _turn(query.double()[:, None], layer, here - local)  # [H, 1, D]
    scores = (turned @ sequence.repeat_interleave(layer.group, 0).mT)[:, 0] * layer.scale  # [H, L]
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if layer.sinks is not None:
        scores = torch.cat([scores, layer.sinks.double()[:, None]], 1)
    weights = torch.softmax(scores, -1)[:, : sequence.shape[1]]
    return (weights[:, None] @ contents.repeat_interleave(layer.group, 0))[:, 0]


def _turn(x: Tensor, layer: Layer, offset: int) -> Tensor:
    """Turn ``x`` [..., n, D], all of it by ``offset`` positions."""
    if layer.rotary is None:
        return x
    return layer.rotary.rotation(torch.tensor([offset]), layer.key_dim, torch.float64, x.device)(x)
