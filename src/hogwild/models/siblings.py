"""Linear layers that read the same input, such as q, k and v, become one product without touching model code.

Which ones do is seen in a forward of the model: they are called one after the other with the very same tensor. The
first of them then computes for all, and the others hand out their part. Each keeps its own weights, as a part of the
common ones, and computes alone whenever it is called with anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from hogwild.models.linear import PackedLinear, product
from hogwild.models.packing import PANEL

PROBE = (1, 2, 3)
"""The tokens of the forward that is looked at."""


class Siblings:
    """Some `PackedLinear` of one format that read the same input, in the order in which they are called."""

    def __init__(self, members: Sequence[PackedLinear]) -> None:
        self.members = tuple(members)
        self.sizes = [member.out_features for member in members]
        self.packed = torch.cat([member.packed for member in members])
        for member, part in zip(members, self.packed.split([m.packed.numel() for m in members]), strict=True):
            member.packed = part  # the same bytes: nothing is kept twice
        biases = [torch.zeros(m.out_features) if m.bias is None else m.bias for m in members]
        self.bias = None if all(m.bias is None for m in members) else torch.cat(biases).view(torch.uint8)
        self._input: Tensor | None = None
        self._parts: Sequence[Tensor] = ()

    def join(self) -> None:
        """From now on the first member computes for all."""
        for index, member in enumerate(self.members):
            member.shared = lambda x, index=index: self.take(index, x)

    def part(self) -> None:
        """From now on each computes alone."""
        for member in self.members:
            member.shared = None

    def take(self, index: int, x: Tensor) -> Tensor | None:
        """The output of a member for ``x``; None if the first one was not just called with the same tensor."""
        if index == 0:
            whole = product(x, self.packed, self.bias, self.members[0].form, sum(self.sizes))
            self._input, self._parts = x, whole.split_with_sizes(self.sizes, -1)
        elif x is not self._input:
            return None
        found = self._parts[index]
        if index == len(self.members) - 1:
            self._input, self._parts = None, ()
        return found


@torch.inference_mode()
def join_siblings(model: nn.Module) -> int:
    """Join the packed layers of a model that read the same input; returns how many groups there are.

    The model's logits must stay the same bit for bit, or else nothing is joined: code that looks closer at an output,
    at its strides for example, would be such a case.
    """
    tokens = torch.tensor([PROBE])
    try:
        groups = [Siblings(members) for members in _find(model, tokens)]
        before = _logits(model, tokens)
    except Exception:  # whatever a model that was not made for this trips over: it is used as it is
        return 0
    for group in groups:
        group.join()
    try:
        same = torch.equal(_logits(model, tokens), before)
    except RuntimeError:  # an output that is a part of a larger one cannot be seen in every shape
        same = False
    if not same:
        for group in groups:
            group.part()
    return len(groups) if same else 0


def _logits(model: nn.Module, tokens: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


def _find(model: nn.Module, tokens: Tensor) -> list[list[PackedLinear]]:
    """Runs of layers that were called with the same tensor, one after the other, and each of them once."""
    calls = list[tuple[PackedLinear, Tensor]]()

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(module, PackedLinear)
        calls.append((module, given[0]))  # held, so that no other tensor gets its identity

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, PackedLinear)]
    try:
        _logits(model, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    runs = [[module for module, _ in run] for _, run in groupby(calls, lambda call: (id(call[1]), call[0].form))]
    once = {module for module, _ in calls if sum(module is other for other, _ in calls) == 1}
    return [run for run in runs if len(run) > 1 and once.issuperset(run) and _fit(run)]


def _fit(run: Sequence[PackedLinear]) -> bool:
    """Panels of outputs lie side by side only if none but the last is filled up."""
    return all(module.out_features % PANEL == 0 for module in run[:-1])
