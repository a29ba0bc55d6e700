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
    pairs = paired_queries(query, layer, plan)
    step = max(1, SCORE_BYTES // (layer.heads * max(sight.columns, 1) * compute_dtype(query.dtype).itemsize))
    slices = list[Tensor]()
    for first in range(0, plan.tokens, step):
        last = min(first + step, plan.tokens)
        weights = attention_weights(pairs, layer, keys, sight, first, last)
        slices.append(mixture(weights, layer, values, sight, first, last))
    mixed = slices[0] if len(slices) == 1 else torch.cat(slices, dim=2)  # [K, G, T, V]
    return mixed.flatten(0, 1).transpose(0, 1).to(query.dtype).contiguous()  # some models take a view of it


def paired_queries(query: Tensor, layer: Layer, plan: Plan) -> Tensor:
    """The query of each (token, block) pair [K, G, P, D], turned by what the block's place in the view asks for."""
    paired = query.index_select(1, plan.pair_tokens)
    if layer.rotary is not None and plan.rotates:
        turn = plan.rotation(layer.rotary, layer.key_dim, compute_dtype(query.dtype))
        paired = turn(paired).to(query.dtype)
    grouped: Tensor = paired.unflatten(0, (layer.kv_heads, layer.group))
    return grouped


def attention_weights(pairs: Tensor, layer: Layer, keys: Tensor, sight: Sight, first: int, last: int) -> Tensor:
    """The weights of all columns for the tokens ``first`` to ``last`` [K, G, last - first, C], in the pairs' dtype."""
    shape = (layer.kv_heads, layer.group, last - first, sight.columns)
    scores = torch.full(shape, -torch.inf, dtype=compute_dtype(pairs.dtype), device=pairs.device)
    for span in sight.clipped(first, last):
        seen = unpack(keys[:, span.first_slot : span.last_slot], pairs.dtype)
        place(scores, span, first).copy_(times(queries(pairs, span), seen.mT))
    return _weigh(scores, layer, None if sight.bias is None else sight.bias[first:last]).to(pairs.dtype)


def mixture(weights: Tensor, layer: Layer, values: Tensor, sight: Sight, first: int, last: int) -> Tensor:
    """The values under these weights, in float32 or float64 [K, G, last - first, V]."""
    wide = compute_dtype(weights.dtype)
    mixed = torch.zeros(*weights.shape[:3], layer.value_dim, dtype=wide, device=weights.device)
    for span in sight.clipped(first, last):
        seen = unpack(values[:, span.first_slot : span.last_slot], weights.dtype)
        mixed[:, :, span.first_token - first : span.last_token - first] += times(place(weights, span, first), seen)
    return mixed


def queries(pairs: Tensor, span: Span) -> Tensor:
    """The pairs [K, G, T, D] that belong to a span."""
    return pairs[:, :, span.pair : span.pair + span.last_token - span.first_token]


def place(scores: Tensor, span: Span, first: int) -> Tensor:
    """The part of [K, G, T, C] that belongs to a span."""
    return scores[:, :, span.first_token - first : span.last_token - first, span.column : span.last_column]


def times(left: Tensor, right: Tensor) -> Tensor:
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
