"""Where the rows of a pass look: the softmax weights of their last tokens, beside whatever computes the attention.

The output is what it would be without: the weights are computed apart, in float32 (float64 for float64 models).

Legend: H query heads, K KV heads, G = H / K, D key size, L tokens of a row's view, B blocks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild.attention.choose import AttentionFunction
from hogwild.attention.plan import Plan, Reading
from hogwild.cache import Block
from hogwild.cache.int8 import unpack
from hogwild.geometry import Layer, compute_dtype


@dataclass(frozen=True)
class Gaze:
    """Where the last token of a row looked, in each layer, averaged over the query heads.

    ``view`` and ``lengths`` are the row's blocks and how much of each it read. ``weights`` [layers, L] are those of the
    tokens of the view, in order; with the model's ``sinks`` [layers] (0 where a layer has none) they sum to 1.
    """

    view: tuple[Block, ...]
    lengths: tuple[int, ...]
    weights: Tensor
    sinks: Tensor

    def shares(self, runs: Sequence[int]) -> Tensor:
        """The weight of runs of neighbouring tokens, given by their lengths: [layers, runs]. They fill the view."""
        if sum(runs) != self.weights.shape[1]:
            raise ValueError(f"runs of {sum(runs)} tokens, and the view has {self.weights.shape[1]}")
        parts = self.weights.split(list(runs), dim=1)
        return torch.stack([part.sum(1) for part in parts], 1)


class Watcher:
    """An attention function that does what another one does, and keeps where the rows of the last pass looked."""

    def __init__(self, function: AttentionFunction) -> None:
        self._function = function
        self._plan: Plan | None = None
        self._eyes = list[_Eye]()

    def __call__(self, query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
        """See `AttentionFunction`."""
        if plan is not self._plan:
            self._plan, self._eyes = plan, [_Eye(reading) for reading in plan.readings]
        for eye, end in zip(self._eyes, plan.bounds[1:], strict=True):
            eye.look(query[:, end - 1], layer, keys)
        return self._function(query, layer, keys, values, plan)

    @property
    def last(self) -> list[Gaze]:
        """Of each row of the last pass, in order; empty before the first one."""
        return [eye.gaze() for eye in self._eyes]


class _Eye:
    """One row of one pass, followed through the layers."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._slots = [block.slots(0, length) for block, length in zip(reading.view, reading.lengths, strict=True)]
        self._offsets = torch.tensor([reading.starts[-1] - start for start in reading.starts])
        self._weights, self._sinks = list[Tensor](), list[Tensor]()

    def look(self, query: Tensor, layer: Layer, keys: Tensor) -> None:
        """Take one layer's ``query`` [H, D] of the last token, and its ``keys`` [K, slots, D]."""
        wide = compute_dtype(query.dtype)
        queries = query.to(wide)[:, None].expand(-1, len(self._slots), -1)  # [H, B, D]
        if layer.rotary is not None:
            queries = layer.rotary.rotation(self._offsets, layer.key_dim, wide, query.device)(queries)
        queries = queries.unflatten(0, (layer.kv_heads, layer.group))  # [K, G, B, D]
        seen = (unpack(keys[:, slots], wide).to(wide) for slots in self._slots)  # each [K, n, D]
        parts = [queries[:, :, place] @ one.mT for place, one in enumerate(seen)]
        scores = torch.cat(parts, -1).flatten(0, 1) * layer.scale  # [H, L]
        if layer.softcap is not None:
            scores = layer.softcap * torch.tanh(scores / layer.softcap)
        if layer.window is not None:
            scores[:, : -layer.window] = -torch.inf
        sinks = scores.new_full((layer.heads,), -torch.inf) if layer.sinks is None else layer.sinks.to(scores)
        mass = torch.softmax(torch.cat([scores, sinks[:, None]], -1), -1).mean(0)  # [L + 1]
        self._weights.append(mass[:-1])
        self._sinks.append(mass[-1])

    def gaze(self) -> Gaze:
        reading = self._reading
        return Gaze(reading.view, reading.lengths, torch.stack(self._weights), torch.stack(self._sinks))
