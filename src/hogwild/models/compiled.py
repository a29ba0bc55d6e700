"""torch.compile for the decoder layers of a model, as an option.

One function is compiled, which takes a layer and its inputs: all layers of one kind share what comes out. Attention is
an operation that the compiler does not look into, and the pass reaches it beside the graph (`hogwild.models.hook`), so
that nothing of what changes from pass to pass is a size in the graph, but for the number of new tokens. That one is
free from two on, and one token has a graph of its own: a warm-up with both leaves nothing to compile later.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hogwild.errors import ModelUnsupported
from hogwild.models.hook import LAYER, handed_over

BACKEND = "inductor"
"""The compiler behind torch.compile; it needs a C++ compiler on the CPU, Triton on a GPU. No CUDA graphs."""

MOST_TOKENS = 64
"""Longer passes (a prompt) run uncompiled: their time goes into products, and loops are compiled for few tokens."""

WARM_UP = (1, 4)
"""The numbers of tokens that have graphs of their own, by an example each."""


def compile_layers(model: PreTrainedModel) -> None:
    """Let the decoder layers run compiled where a pass is handed over beside the graph, and as before elsewhere.

    Nothing is compiled yet: the first passes do that. Raises `ModelUnsupported` where no layers are found.
    """
    layers = decoder_layers(model)
    for module in model.modules():
        if isinstance(index := getattr(module, "layer_idx", None), int):
            setattr(module, LAYER, torch.tensor(index))  # a number would be compiled in, layer by layer
    # torch keeps what it compiled with the code of a function, and only so much for each. A copy belongs to this model.
    own = FunctionType(_forward.__code__.replace(), globals())
    compiled = torch.compile(own, fullgraph=True, dynamic=True, backend=BACKEND)
    for layer in layers:
        layer.forward = _either(compiled, layer)


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers of a model: its longest list of modules is the stack of them."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise ModelUnsupported(f"{model.config.model_type}: no list of {count} layers is there to compile")


def compile_limit(model: PreTrainedModel) -> Any:
    """Inside, each kind of layer may have its graphs: torch's own limit is for code that changes as it runs."""
    return torch._dynamo.config.patch(recompile_limit=len(WARM_UP) * len(decoder_layers(model)))


def _forward(layer: nn.Module, *inputs: Any, **options: Any) -> Any:
    return type(layer).forward(layer, *inputs, **options)


def _either(compiled: Callable[..., Any], layer: nn.Module) -> Callable[..., Any]:
    """A layer's forward: compiled in a pass that was handed over beside the graph, else as transformers has it."""

    def forward(*inputs: Any, **options: Any) -> Any:
        return (compiled if handed_over() else _forward)(layer, *inputs, **options)

    return forward
