"""Concurrent attention once more, from its definition alone: an oracle that shares no cache code with the engine.

A block is a Python list of entries, one a token. An entry keeps the token's key as the model turned it at the token's
place *in the view it was written in*, and that place; whoever reads it later turns it on from there. There are no
pages, plans, blocks that begin at 0 or moved keys: to extend is to append to a list, to fork is to copy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hogwild.engine import Engine
from hogwild.geometry import Layer
from hogwild.models.hook import ARGUMENT


@dataclass(eq=False)
class Entry:
    """One token in the cache."""

    token: int
    place: int = -1
    keys: dict[int, Tensor] = field(default_factory=dict)  # by layer, [K, D]
    values: dict[int, Tensor] = field(default_factory=dict)


ShadowBlock = list[Entry]


class Shadow:
    """The model of an engine, over shadow blocks."""

    def __init__(self, engine: Engine) -> None:
        self.model = engine.model
        self.layers: tuple[Layer, ...] = engine.pool.layers

    @torch.inference_mode()
    def forward(
        self, rows: Sequence[tuple[Sequence[ShadowBlock], Sequence[int]]], drafts: Sequence[int] | None = None
    ) -> Tensor:
        """Append each row's tokens to the last block of its view; logits after every token [tokens, vocab].

        The last ``drafts`` tokens of each row are there for that row alone.
        """
        hidden = dict[int, int]()
        for (view, tokens), count in zip(rows, drafts or [0] * len(rows), strict=True):
            view[-1].extend(Entry(token) for token in tokens)
            hidden[id(view[-1])] = count
        seen, new = list[list[Entry]](), list[Entry]()
        for view, tokens in rows:
            sequence = [entry for block in view[:-1] for entry in block[: len(block) - hidden.get(id(block), 0)]]
            sequence += view[-1]
            for place in range(len(sequence) - len(tokens), len(sequence)):
                sequence[place].place = place
                seen.append(sequence[: place + 1])
                new.append(sequence[place])
        ids, places = (torch.tensor([[getattr(entry, name) for entry in new]]) for name in ("token", "place"))
        current = {ARGUMENT: ShadowPass(self.layers, new, seen)}
        logits: Tensor = self.model(input_ids=ids, position_ids=places, use_cache=False, **current).logits[0]
        return logits.float()


class ShadowPass:
    """One forward: every new token attends to what it sees, one after the other, in float64."""

    def __init__(self, layers: tuple[Layer, ...], new: list[Entry], seen: list[list[Entry]]) -> None:
        self.layers, self.new, self.seen = layers, new, seen

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        index: int = module.layer_idx  # type: ignore[assignment]
        for t, entry in enumerate(self.new):
            entry.keys[index], entry.values[index] = key[0, :, t].double(), value[0, :, t].double()
        mixed = [
            attend_one(self.layers[index], index, query[0, :, t].double(), sequence)
            for t, sequence in enumerate(self.seen)
        ]
        return torch.stack(mixed)[None].to(query.dtype)  # [1, T, H, V]


def attend_one(layer: Layer, index: int, query: Tensor, sequence: list[Entry]) -> Tensor:
    """Attention of the last token of a sequence: ``query`` [H, D] to [H, V]."""
    first = 0 if layer.window is None else max(0, len(sequence) - layer.window)
    visible = sequence[first:]
    keys = torch.stack([entry.keys[index] for entry in visible], 1)  # [K, n, D]
    values = torch.stack([entry.values[index] for entry in visible], 1)
    if layer.rotary is not None:
        turns = torch.tensor([first + n - entry.place for n, entry in enumerate(visible)])
        keys = layer.rotary.rotation(turns, layer.key_dim, torch.float64, keys.device)(keys)
    scores = torch.einsum("kgd,knd->kgn", query.unflatten(0, (layer.kv_heads, layer.group)), keys) * layer.scale
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if layer.sinks is not None:
        sinks = layer.sinks.double().view(layer.kv_heads, layer.group, 1)
        weights = torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]
    else:
        weights = torch.softmax(scores, -1)
    return torch.einsum("kgn,knv->kgv", weights, values).flatten(0, 1)
