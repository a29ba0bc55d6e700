"""The baseline ``copied``: attention the way the method was first published, for the comparison.

In every layer of every pass, each worker's view is written out anew: all keys of all its blocks are copied and turned
to their places in this view, the values are copied, shorter views are padded, and the batch goes through PyTorch's own
attention. Exact, like `plain_attention`, and with the same arguments.

Legend: W rows, H query heads, K KV heads, G = H / K, T new tokens of the longest row, L tokens of the longest view,
D key size, V value size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from hogwild.attention import Plan, Reading
from hogwild.cache.int8 import unpack
from hogwild.geometry import Layer, compute_dtype

NAME = "copied"


def copied_attention(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
    """Attend from ``query`` [H, tokens, D] to ``keys`` [K, slots, D] and ``values`` [K, slots, V]: [tokens, H, V]."""
    counts = [reading.count for reading in plan.readings]
    length, most = max(sum(reading.lengths) for reading in plan.readings), max(counts)
    batch = [
        _write_out(part, layer, keys, values, reading, length, most)
        for part, reading in zip(query.split(counts, dim=1), plan.readings, strict=True)
    ]
    mixed = _attend(
        torch.stack([row.query for row in batch]),
        torch.stack([row.keys for row in batch]),
        torch.stack([row.values for row in batch]),
        torch.stack([row.visible for row in batch]),
        layer,
    )  # [W, H, T, V]
    return torch.cat([row[:, :count].transpose(0, 1) for row, count in zip(mixed, counts, strict=True)])


@dataclass(frozen=True)
class _Row:
    """A worker's view as one contiguous sequence, padded."""

    query: Tensor  # [H, T, D]
    keys: Tensor  # [K, L, D]
    values: Tensor  # [K, L, V]
    visible: Tensor  # [T, L]


def _write_out(
    query: Tensor, layer: Layer, keys: Tensor, values: Tensor, reading: Reading, length: int, most: int
) -> _Row:
    turned, contents = list[Tensor](), list[Tensor]()
    for block, count, start in zip(reading.view, reading.lengths, reading.starts, strict=True):
        slots = block.slots(0, count).to(keys.device)
        turned.append(_turn(unpack(keys.index_select(1, slots), query.dtype), layer, start))
        contents.append(unpack(values.index_select(1, slots), query.dtype))
    missing = length - sum(reading.lengths)
    last = sum(reading.lengths) - 1
    # Padded tokens stand where the last one stands: they must see something, and nobody reads them.
    here = torch.arange(last - reading.count + 1, last - reading.count + 1 + most).clamp(max=last)[:, None]
    there = torch.arange(length)[None, :]
    visible = there <= here
    if layer.window is not None:
        visible &= there > here - layer.window
    return _Row(
        pad(_turn(query, layer, reading.starts[-1]), (0, 0, 0, most - reading.count)),
        pad(torch.cat(turned, dim=1), (0, 0, 0, missing)),
        pad(torch.cat(contents, dim=1), (0, 0, 0, missing)),
        visible.to(keys.device),
    )


def _turn(x: Tensor, layer: Layer, offset: int) -> Tensor:
    """Turn ``x`` [..., n, D], all of it by ``offset`` positions, in its own dtype."""
    rotary = layer.rotary
    if rotary is None or offset == 0:
        return x
    rotation = rotary.rotation(torch.tensor([offset]), layer.key_dim, x.dtype, x.device)
    if rotary.pairing != "half":
        return rotation(x)
    start, half = rotary.start, len(rotary.inv_freq)  # slices are faster than the swap of any pairing
    cos, sin = rotation.cos[:, start : start + half], rotation.sin[:, start + half : start + 2 * half]
    first, second = x[..., start : start + half], x[..., start + half : start + 2 * half]
    rest = (x[..., :start], x[..., start + 2 * half :])
    return torch.cat([rest[0], first * cos - second * sin, second * cos + first * sin, rest[1]], dim=-1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor, layer: Layer) -> Tensor:
    """``query`` [W, H, T, D] to [W, H, T, V]. The query heads of a KV head go as more tokens: no key is repeated."""
    tokens = query.shape[2]
    packed = query.unflatten(1, (layer.kv_heads, layer.group)).flatten(2, 3)  # [W, K, G*T, D]
    mask = None if bool(visible.all()) else visible.repeat(1, layer.group, 1)[:, None]  # [W, 1, G*T, L]
    if layer.softcap is None and layer.sinks is None:
        mixed: Tensor = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=layer.scale)
    else:
        mixed = _eager(packed, keys, values, mask, layer)
    heads: Tensor = mixed.unflatten(2, (layer.group, tokens)).flatten(1, 2)
    return heads


def _eager(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, layer: Layer) -> Tensor:
    """The same where PyTorch's attention lacks something: a soft cap, or sinks."""
    wide = compute_dtype(query.dtype)
    scores = (query.to(wide) @ keys.to(wide).mT) * layer.scale  # [W, K, G*T, L]
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    if layer.sinks is not None:
        tokens = query.shape[2] // layer.group
        sinks = layer.sinks.to(scores).view(layer.kv_heads, layer.group, 1).expand(-1, -1, tokens).flatten(1)
        scores = torch.cat([scores, sinks[None, :, :, None].expand(len(scores), -1, -1, -1)], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : keys.shape[2]]
    mixed: Tensor = (weights @ values.to(wide)).to(query.dtype)
    return mixed
