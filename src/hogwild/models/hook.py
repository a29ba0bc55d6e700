"""The one place where transformers calls us: a function registered in its AttentionInterface.

A model set to ``attn_implementation="hogwild"`` hands every layer's rotated queries, keys and values to
`attention`, together with the keyword arguments given to the model's forward, among them ours: ``hogwild_pass``.
As no mask function of that name is registered, transformers builds no mask. Under the name ``hogwild_probe``, which is
used once at load, it asks `describe_mask` for one, so that the rule of each layer's mask can be read.

In compiled layers (`hogwild.models.compiled`) attention is an opaque operation, and the pass comes to it in a context
variable: as an argument it would become part of what is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from hogwild.errors import ModelUnsupported

NAME = "hogwild"
PROBE = "hogwild_probe"
ARGUMENT = "hogwild_pass"
LAYER = "hogwild_layer"
"""The attribute of an attention module that holds its number as a tensor []; compiled layers only."""

MaskRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Whether (batch, head, query index, key index) is visible: tensors that broadcast, to booleans."""


class Pass(Protocol):
    """What happens in the attention layers of one forward."""

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Take one layer's ``query`` [1, H, T, D], ``key`` [1, K, T, D] and ``value`` [1, K, T, V].

        ``options`` are all other keyword arguments of the call (scaling, sliding_window, softcap, ...). Returns the
        attention output [1, T, H, V].
        """


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The registered function: gives the work to the pass that came with the forward."""
    if torch.compiler.is_compiling():
        if attention_mask is not None:
            raise ModelUnsupported(f"{type(module).__name__} brings a mask of its own")
        return torch.ops.hogwild.attend(query, key, value, getattr(module, LAYER)), None
    current: Pass | None = options.pop(ARGUMENT, None)
    if current is None:
        raise ModelUnsupported(
            f"{type(module).__name__} was called without a pass: this model works for an engine, and "
            "model.set_attn_implementation('sdpa') takes it back"
        )
    return current.attend(module, query, key, value, attention_mask, options), None


@contextmanager
def handing(current: Pass, compiled: bool) -> Iterator[dict[str, Any]]:
    """Inside, the layers of one forward find their pass; yields what the forward has to be given for that."""
    if not compiled:
        yield {ARGUMENT: current}
        return
    token = _beside.set(current)
    try:
        yield {}
    finally:
        _beside.reset(token)


def handed_over() -> bool:
    """Whether the pass that runs is handed over beside the graph, to compiled layers."""
    return _beside.get() is not None


def probe_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The same while the model is probed, when nobody but us calls it."""
    if ARGUMENT not in options:
        raise ModelUnsupported(f"{type(module).__name__} does not hand keyword arguments on to its attention function")
    return attention(module, query, key, value, attention_mask, **options)


def describe_mask(*, mask_function: MaskRule, **_: Any) -> Tensor:
    """The registered mask function of the probe: a token tensor that carries the rule in place of a mask."""
    mask = torch.empty(1, 1, 1, 1)
    mask.hogwild_rule = mask_function  # type: ignore[attr-defined]
    return mask


def mask_rule(mask: Tensor) -> MaskRule | None:
    """The rule that `describe_mask` put on a mask; None for a mask of any other origin."""
    return getattr(mask, "hogwild_rule", None)


_beside: ContextVar[Pass | None] = ContextVar("hogwild_pass", default=None)


class _Numbered(nn.Module):
    """Stands for the attention module of a layer where only its number is known."""

    def __init__(self, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx


def _attend(query: Tensor, key: Tensor, value: Tensor, layer: Tensor) -> Tensor:
    current = _beside.get()
    assert current is not None, "compiled layers only run inside handing()"
    return current.attend(_numbered(int(layer)), query, key, value, None, {})


def _attended(query: Tensor, key: Tensor, value: Tensor, layer: Tensor) -> Tensor:
    """What comes out of `_attend`, as far as a compiler wants to know."""
    return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])


_numbered = cache(_Numbered)
torch.library.define("hogwild::attend", "(Tensor query, Tensor key, Tensor value, Tensor layer) -> Tensor")
torch.library.impl("hogwild::attend", "default", _attend)
torch.library.register_fake("hogwild::attend", _attended)

AttentionInterface.register(NAME, attention)
AttentionInterface.register(PROBE, probe_attention)
AttentionMaskInterface.register(PROBE, describe_mask)
