"""Concurrent attention in plain PyTorch: it runs everywhere, and reads each key and value once for all rows.

    score(token at i, key at offset p of a block at o) = scale * <R(i - o) q, R(p) k>,  one softmax over the view

Legend: T new tokens, H query heads, K KV heads, G = H / K, D key size, V value size, C columns, P pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hogwild.attention.plan import Plan, Sight, Span
from hogwild.cache.int8 import unpack
from hogwild.geometry import Layer, compute_dtype

SCORE_BYTES = 64 << 20
"""The most that the scores of one call may take; longer passes go through in slices of tokens."""


def plain_attention(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
    """Attend from ``query`` [H, T, D] to ``keys`` [K, slots, D] and ``values`` [K, slots, V] of one layer.

    The query is rotated by each token's offset in its own block, as the model does; new keys and values are
    already in the pool, in the query's dtype or in 8 bits (`hogwild.cache.int8`). Returns [T, H, V] in the query's
    dtype. Softmax and rotation work in float32 (float64 for float64 models).
    """
    sight = plan.sight(layer.window)
    wide = compute_dtype(query.dtype)
    pairs = _paired_queries(query, layer, plan, wide)  # [K, G, P, D]
    step = max(1, SCORE_BYTES // (layer.heads * max(sight.columns, 1) * wide.itemsize))
    slices = [
        _attend(pairs, layer, keys, values, sight, first, min(first + step, plan.tokens))
        for first in range(0, plan.tokens, step)
    ]
    mixed = slices[0] if len(slices) == 1 else torch.cat(slices, dim=2)  # [K, G, T, V]
    return mixed.flatten(0, 1).transpose(0, 1).to(query.dtype).contiguous()  # some models take a view of it


def _paired_queries(query: Tensor, layer: Layer, plan: Plan, wide: torch.dtype) -> Tensor:
    """The query of each (token, block) pair, turned by what the block's place in the view still asks for."""
    paired = query.index_select(1, plan.pair_tokens)
    if layer.rotary is not None and plan.rotates:
        paired = plan.rotation(layer.rotary, layer.key_dim, wide)(paired).to(query.dtype)
    grouped: Tensor = paired.unflatten(0, (layer.kv_heads, layer.group))
    return grouped


def _attend(pairs: Tensor, layer: Layer, keys: Tensor, values: Tensor, sight: Sight, first: int, last: int) -> Tensor:
    """Attention of the tokens ``first`` to ``last``, in float32 or float64 [K, G, last - first, V]."""
    wide = compute_dtype(pairs.dtype)
    spans = [clipped for span in sight.spans if (clipped := span.clip(first, last))]
    shape = (layer.kv_heads, layer.group, last - first, sight.columns)
    scores = torch.full(shape, -torch.inf, dtype=wide, device=pairs.device)
    for span in spans:
        seen = unpack(keys[:, span.first_slot : span.last_slot], pairs.dtype)
        _place(scores, span, first).copy_(_times(_queries(pairs, span), seen.mT))
    weights = _weigh(scores, layer, None if sight.bias is None else sight.bias[first:last]).to(pairs.dtype)
    mixed = torch.zeros(*shape[:3], layer.value_dim, dtype=wide, device=pairs.device)
    for span in spans:
        seen = unpack(values[:, span.first_slot : span.last_slot], pairs.dtype)
        mixed[:, :, span.first_token - first : span.last_token - first] += _times(_place(weights, span, first), seen)
    return mixed


def _queries(pairs: Tensor, span: Span) -> Tensor:
    return pairs[:, :, span.pair : span.pair + span.last_token - span.first_token]


def _place(scores: Tensor, span: Span, first: int) -> Tensor:
    """The part of [K, G, T, C] that belongs to a span."""
    return scores[:, :, span.first_token - first : span.last_token - first, span.column : span.last_column]


def _times(left: Tensor, right: Tensor) -> Tensor:
    """``left`` [K, G, T, A] times ``right`` [K, A, B], one product for all query heads of a KV head."""
    product: Tensor = torch.bmm(left.flatten(1, 2), right).unflatten(1, left.shape[1:3])
    return product


def _weigh(scores: Tensor, layer: Layer, bias: Tensor | None) -> Tensor:
    """Scale, soft cap, mask, sinks and softmax of ``scores`` [K, G, T, C], which it overwrites."""
    scores *= layer.scale
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if bias is not None:
        scores += bias
    if layer.sinks is None:
        return torch.softmax(scores, dim=-1)
    sinks = layer.sinks.to(scores).view(layer.kv_heads, layer.group, 1, 1).expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]
