"""The training pass: one forward over whole traces gives the logits that every worker had at every pass.

The model gets each token's offset in its stretch as its position, and attention the rest, from the same plan and by the
same function as in inference. Keys and values are those of the forward itself, so gradients flow through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hogwild.attention import Plan
from hogwild.errors import ModelUnsupported
from hogwild.geometry import Layer
from hogwild.models.hook import ARGUMENT
from hogwild.train.attention import trace_attention
from hogwild.train.trace import NO_LABEL, Trace


@dataclass(frozen=True)
class Batch:
    """Traces behind each other, which do not see each other: ``tokens`` and ``labels`` [T], a plan for each trace.

    ``bounds`` [traces + 1] is where the tokens of each trace begin.
    """

    tokens: Tensor
    labels: Tensor
    plans: tuple[Plan, ...]
    bounds: tuple[int, ...]

    @property
    def learnt(self) -> Tensor:
        """The places of the tokens that have a label, int64."""
        return torch.nonzero(self.labels != NO_LABEL)[:, 0]


def pack(traces: Sequence[Trace], device: torch.device) -> Batch:
    """Put traces into one forward."""
    return Batch(
        tokens=torch.tensor([token for trace in traces for token in trace.tokens], device=device),
        labels=torch.tensor([label for trace in traces for label in trace.labels], device=device),
        plans=tuple(trace.plan(device) for trace in traces),
        bounds=(0, *accumulate(len(trace.tokens) for trace in traces)),
    )


def trace_logits(model: PreTrainedModel, layers: Sequence[Layer], batch: Batch, places: Tensor | None = None) -> Tensor:
    """Float32 logits after each token [T, vocab], or after those at ``places`` [N, vocab].

    ``model`` is set to the attention of `hogwild.models.hook`; ``layers`` is what was measured on it.
    """
    positions = torch.cat([plan.positions for plan in batch.plans])
    given: dict[str, Any] = {ARGUMENT: _TracePass(batch, layers)}
    if places is not None:
        given["logits_to_keep"] = places
    output = model(input_ids=batch.tokens[None], position_ids=positions[None], use_cache=False, **given)
    logits: Tensor = output.logits[0].float()
    return logits


def trace_loss(model: PreTrainedModel, layers: Sequence[Layer], batch: Batch, teacher: Tensor | None = None) -> Tensor:
    """The sum of the cross entropy over all tokens that have a label [].

    With the logits of a ``teacher`` after those tokens [N, vocab] it is the divergence from what it holds for likely.
    """
    places = batch.learnt
    logits = trace_logits(model, layers, batch, places)
    if teacher is None:
        return nn.functional.cross_entropy(logits, batch.labels[places], reduction="sum")
    ours, theirs = logits.log_softmax(-1), teacher.log_softmax(-1)
    return nn.functional.kl_div(ours, theirs, reduction="sum", log_target=True)


class _TracePass:
    """One forward over a batch, as its attention layers see it: see `hogwild.models.hook.Pass`."""

    def __init__(self, batch: Batch, layers: Sequence[Layer]) -> None:
        self._batch = batch
        self._layers = layers

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Attend trace by trace."""
        if mask is not None:
            raise ModelUnsupported(f"{type(module).__name__} brings a mask of its own")
        index: int = module.layer_idx  # type: ignore[assignment]
        layer = self._layers[index]
        bounds, mixed = self._batch.bounds, list[Tensor]()
        for plan, first, last in zip(self._batch.plans, bounds, bounds[1:], strict=False):
            inputs = (query[0, :, first:last], layer, key[0, :, first:last], value[0, :, first:last], plan)
            mixed.append(trace_attention(*inputs))
        return torch.cat(mixed)[None]
