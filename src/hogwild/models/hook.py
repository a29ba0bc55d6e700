"""The one place where transformers calls us: a function registered in its AttentionInterface.

A model set to ``attn_implementation="hogwild"`` hands every layer's rotated queries, keys and values to
`attention`, together with the keyword arguments given to the model's forward, among them ours: ``hogwild_pass``.
As no mask function of that name is registered, transformers builds no mask. Under the name ``hogwild_probe``, which is
used once at load, it asks `describe_mask` for one, so that the rule of each layer's mask can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from hogwild.errors import ModelUnsupported

NAME = "hogwild"
PROBE = "hogwild_probe"
ARGUMENT = "hogwild_pass"

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
    current: Pass | None = options.pop(ARGUMENT, None)
    if current is None:
        raise ModelUnsupported(
            f"{type(module).__name__} was called without a pass: this model works for an engine, and "
            "model.set_attn_implementation('sdpa') takes it back"
        )
    return current.attend(module, query, key, value, attention_mask, options), None


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


AttentionInterface.register(NAME, attention)
AttentionInterface.register(PROBE, probe_attention)
AttentionMaskInterface.register(PROBE, describe_mask)
