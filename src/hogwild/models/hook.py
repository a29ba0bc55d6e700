"""The one place where transformers calls us: a function registered in its AttentionInterface.

A model set to ``attn_implementation="hogwild"`` hands every layer's rotated queries, keys and values to
`attention`, together with the keyword arguments given to the model's forward, among them ours: ``hogwild_pass``.
As no mask function of that name is registered, transformers builds no mask.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn
from transformers import AttentionInterface

from hogwild.errors import ModelUnsupported

NAME = "hogwild"
ARGUMENT = "hogwild_pass"


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
        raise ModelUnsupported(f"{type(module).__name__} does not hand keyword arguments on to its attention function")
    return current.attend(module, query, key, value, attention_mask, options), None


AttentionInterface.register(NAME, attention)
