"""Concurrent attention with a way back of its own: that of autograd copies all scores once for every stretch.

For a span of keys k, values v and queries q, the scores s = scale q k', the weights w = softmax(s) over the whole view,
and what is mixed o = w v:

    dw = do v',   dv = w' do,   ds = scale w (dw - <o, do>),   dq = ds k,   dk = ds' q

Legend: as in `hogwild.attention.plain`; T tokens, all of one trace.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from hogwild.attention import Plan, plain_attention
from hogwild.attention.plain import attention_weights, mixture, paired_queries, place, queries, times
from hogwild.attention.plan import Sight
from hogwild.geometry import Layer


def trace_attention(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
    """The same as `plain_attention`, called in the same way, for keys and values as the model has made them."""
    if layer.softcap is not None or layer.sinks is not None:
        again: Tensor = checkpoint(plain_attention, query, layer, keys, values, plan, use_reentrant=False)
        return again
    pairs = paired_queries(query, layer, plan)
    mixed: Tensor = _Attend.apply(pairs, keys, values, layer, plan.sight(layer.window))  # type: ignore[no-untyped-call]
    return mixed.flatten(0, 1).transpose(0, 1).to(query.dtype).contiguous()


class _Attend(torch.autograd.Function):
    """From pairs [K, G, P, D], keys [K, T, D] and values [K, T, V] to what is mixed [K, G, T, V]."""

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, keys: Tensor, values: Tensor, layer: Layer, sight: Sight) -> Tensor:
        weights = attention_weights(pairs, layer, keys, sight, 0, sight.tokens)
        mixed = mixture(weights, layer, values, sight, 0, sight.tokens)
        ctx.layer, ctx.sight = layer, sight
        ctx.save_for_backward(pairs, keys, values, weights, mixed)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        pairs, keys, values, weights, mixed = ctx.saved_tensors
        narrow = given.to(pairs.dtype)
        drift = (given * mixed).sum(-1, keepdim=True)  # <o, do> [K, G, T, 1]
        to_pairs, to_keys, to_values = torch.zeros_like(pairs), torch.zeros_like(keys), torch.zeros_like(values)
        for span in ctx.sight.spans:
            tokens, slots = slice(span.first_token, span.last_token), slice(span.first_slot, span.last_slot)
            weight, mine = place(weights, span, 0), narrow[:, :, tokens]
            to_values[:, slots] += torch.bmm(weight.flatten(1, 2).mT, mine.flatten(1, 2))
            slope = times(mine, values[:, slots].mT).sub_(drift[:, :, tokens]).mul_(weight).mul_(ctx.layer.scale)
            slope = slope.to(pairs.dtype)
            queries(to_pairs, span).add_(times(slope, keys[:, slots]))
            to_keys[:, slots] += torch.bmm(slope.flatten(1, 2).mT, queries(pairs, span).flatten(1, 2))
        return to_pairs, to_keys, to_values, None, None
