"""Linear layers at the speed of memory: a model's own are swapped, at load, for ones with packed weights.

The kernel (native/linear.cpp) reads each weight once for all rows of a pass: in bfloat16, stored in 12 bits each where
that is faster and loses nothing, or quantised to 8 or 4 bits in groups of 32 inputs. A row's result never depends on
the other rows. For quantised weights each row of inputs is rounded to 8 bits, with a scale for each group of 32: half a
step of largest / 127 at most for each input.
Without kernels, bfloat16 layers stay as they are, and quantised ones are dequantised in every call: right, but slow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hogwild.errors import OptionError
from hogwild.models.packing import FORMATS, NotPackable, kernels, pack, unpack

QUANTIZE = ("none", "int8", "int4")
"""What `prepare_linears` does with the weights."""


WIDE_HEAD = 1024
"""Inputs from which on the head is int4 too: its errors are those of the logits, and do not average out in a narrow one
(docs/quantisation.md has what it costs)."""


class PackedLinear(nn.Module):
    """``y = x W^T + bias`` for x [..., K], with W [N, K] packed in one of `FORMATS`; y is of the dtype of x.

    Takes the place of an ``nn.Linear`` on the CPU, for inference: it has no gradients. bf12 gives what bf16 gives, bit
    for bit, and becomes bf16 where it cannot be (see `pack`): then ``form`` says so.
    """

    packed: Tensor
    bias_bytes: Tensor | None
    shared: Callable[[Tensor], Tensor | None] | None = None
    """Gives the output where it was computed together with others, see `hogwild.models.siblings`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, form: str) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        try:
            packed, self.form = pack(weight.detach(), form), form
        except NotPackable:
            packed, self.form = pack(weight.detach(), "bf16"), "bf16"
        self.register_buffer("packed", packed, persistent=False)
        # As bytes, so that model.to(dtype) leaves it alone: the kernel adds float32.
        stored = None if bias is None else bias.detach().float().contiguous().view(torch.uint8)
        self.register_buffer("bias_bytes", stored, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The product, in the dtype of ``x``."""
        if torch.compiler.is_compiling():
            compiled: Tensor = torch.ops.hogwild.linear(x, self.packed, self.bias_bytes, self.form, self.out_features)
            return compiled
        if self.shared is not None and (found := self.shared(x)) is not None:
            return found
        return product(x, self._buffers["packed"], self._buffers["bias_bytes"], self.form, self.out_features)

    def dequantised(self) -> Tensor:
        """The weights [N, K] that the products are made with, in float32."""
        return unpack(self.packed, self.form, self.out_features, self.in_features)

    @property
    def weight(self) -> Tensor:
        """The weights, for model code that looks at them: made anew each time, and changing them changes nothing."""
        return self.dequantised()

    @property
    def bias(self) -> Tensor | None:
        """The bias [N] in float32, or None."""
        return None if self.bias_bytes is None else self.bias_bytes.view(torch.float32)

    def extra_repr(self) -> str:
        """Shape and format."""
        bias = self.bias_bytes is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, form={self.form}"


def product(x: Tensor, packed: Tensor | None, bias: Tensor | None, form: str, outputs: int) -> Tensor:
    """``x`` [..., K] times packed weights, plus a bias (float32, seen as bytes): [..., ``outputs``]."""
    assert packed is not None
    library, inputs = kernels(), x.shape[-1]
    if library is None:
        weight = unpack(packed, form, outputs, inputs)
        added = None if bias is None else bias.view(torch.float32)
        return nn.functional.linear(x.float(), weight, added).to(x.dtype)
    dtype = x.dtype
    if dtype not in {torch.bfloat16, torch.float32}:
        x = x.float()
    x = x.contiguous()
    y = torch.empty(*x.shape[:-1], outputs, dtype=x.dtype)
    wide = x.dtype == torch.float32
    library.hogwild_linear(
        FORMATS[form],
        x.data_ptr(),
        wide,
        x.numel() // inputs,
        inputs,
        packed.data_ptr(),
        None if bias is None else bias.data_ptr(),
        y.data_ptr(),
        wide,
        outputs,
        torch.get_num_threads(),
    )
    return y if y.dtype == dtype else y.to(dtype)


def _shaped(x: Tensor, packed: Tensor, bias: Tensor | None, form: str, outputs: int) -> Tensor:
    """What comes out of `_linear`, as far as a compiler wants to know."""
    return x.new_empty(*x.shape[:-1], outputs)


# `PackedLinear` as one opaque operation for torch.compile. Defined in three steps, as torch.library.custom_op costs
# several times the product of a small layer in each call.
torch.library.define("hogwild::linear", "(Tensor x, Tensor packed, Tensor? bias, str form, int outputs) -> Tensor")
torch.library.impl("hogwild::linear", "default", product)
torch.library.register_fake("hogwild::linear", _shaped)


def check_quantize(quantize: str, device: str = "cpu", shared: bool = False) -> None:
    """Raise `OptionError` for a ``quantize`` that is unknown, or not to be had on ``device`` or a shared model."""
    if quantize not in QUANTIZE:
        raise OptionError(f"quantize is {quantize!r}: give one of {', '.join(QUANTIZE)}")
    if quantize != "none" and (shared or not device.startswith("cpu")):
        where = "a model shared by tensor_parallel" if shared else f"device {device}"
        raise OptionError(f"quantize is {quantize!r}, which {where} does not have: it works on one CPU")


def prepare_linears(model: nn.Module, quantize: str = "none") -> int:
    """Swap every ``nn.Linear`` of a model that the kernels serve; returns how many. Call it once, on the CPU.

    ``none``: bfloat16 layers, where the kernels are there. ``int8`` and ``int4``: all layers, of any floating dtype; of
    the head see `WIDE_HEAD`. Each layer's own weights are freed before the next is packed, unless something else holds
    them, as an embedding does that is tied to the head; it stays as it is. Experts that a model keeps in one tensor are
    no linear layers, and stay too.
    Raises `OptionError` for another ``quantize``.
    """
    check_quantize(quantize)
    names = [name for name, module in model.named_modules() if _is_served(module, quantize)]
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    for name in names:
        parent, _, own = name.rpartition(".")
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        form = "bf12" if quantize == "none" else quantize
        if form == "int4" and linear is head and linear.in_features < WIDE_HEAD:
            form = "int8"
        setattr(model.get_submodule(parent), own, PackedLinear(linear.weight, linear.bias, form))
    return len(names)


def _is_served(module: nn.Module, quantize: str) -> bool:
    if type(module) is not nn.Linear or module.weight.device.type != "cpu" or not module.weight.is_floating_point():
        return False
    return quantize != "none" or (module.weight.dtype == torch.bfloat16 and kernels() is not None)
