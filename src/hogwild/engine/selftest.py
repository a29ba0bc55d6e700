"""The self-test that ends every load: is concurrent attention exact on this very model?

One worker writes a random context that is split over several blocks, in passes of several sizes. Its logits must be
those of the model's own forward over the same tokens in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hogwild.engine.passes import Row
from hogwild.errors import ModelUnsupported
from hogwild.models.hook import NAME

if TYPE_CHECKING:
    from hogwild.engine.engine import Engine

SPLITS = (19, 1, 12, 9, 1, 6)
"""Tokens in each pass; each goes into a block of its own but the fourth and later, which share one."""

MAX_BLOCKS = 4

FLOAT_TOLERANCE = 1e-4
"""Largest difference of a logit over the largest logit, float32 and float64. A score of size s carries a rounding error
of s * 6e-8 through the softmax of each layer; real models have scores of up to a few hundred and 24 to 64 layers. Wrong
rotations are off by 0.04 and more. (float64 models still take their angles, norms or softmax in float32.)"""

HALF_TOLERANCE = 0.1
"""Root mean square difference over that of the logits, bfloat16 and float16, where the model itself cannot tell."""


@dataclass(frozen=True)
class ExactnessReport:
    """What the self-test found.

    ``difference`` is the largest one of any logit relative to the largest logit (float32, float64), or the root mean
    square relative to that of the logits (half precision, where single logits are all noise).
    """

    difference: float
    tolerance: float
    tokens: int
    dtype: str

    @property
    def exact(self) -> bool:
        """Whether the difference is rounding only. Not a number is not."""
        return self.difference <= self.tolerance


@torch.inference_mode()
def self_test(engine: Engine) -> ExactnessReport:
    """Compare both forwards. Raises `ModelUnsupported` when they differ by more than rounding.

    In half precision, rounding is measured: it is twice the difference between the model's own eager and SDPA
    attention on the same tokens.
    """
    generator = torch.Generator().manual_seed(0)
    splits = list(_splits(engine.max_positions))
    tokens = torch.randint(engine.vocab_size, (sum(splits),), generator=generator).tolist()
    theirs, ours = plain_logits(engine, tokens), _concurrent(engine, tokens, splits)
    half = engine.dtype.itemsize < 4
    report = ExactnessReport(
        difference=rms_difference(ours, theirs) if half else largest_difference(ours, theirs),
        tolerance=_rounding_noise(engine, tokens, theirs) if half else FLOAT_TOLERANCE,
        tokens=len(tokens),
        dtype=str(engine.dtype).removeprefix("torch."),
    )
    if not report.exact:
        raise ModelUnsupported(
            f"{engine.name}: not exact. One worker's context split over blocks gives logits that differ by "
            f"{report.difference:.1e} from the model's own forward; rounding explains {report.tolerance:.1e}"
        )
    return report


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference over the largest absolute logit."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())


def rms_difference(ours: Tensor, theirs: Tensor) -> float:
    """The root mean square of the difference over that of the logits."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def _rounding_noise(engine: Engine, tokens: list[int], eager: Tensor) -> float:
    try:
        return 2 * rms_difference(plain_logits(engine, tokens, "sdpa"), eager)
    except (ValueError, ImportError):  # transformers' way to say that the model has no SDPA attention
        return HALF_TOLERANCE


def plain_logits(engine: Engine, tokens: list[int], implementation: str = "eager") -> Tensor:
    """The logits [tokens, vocab] of the model's own forward, with one of transformers' attentions and no cache."""
    model = engine.model
    try:
        model.set_attn_implementation(implementation)
        ids = torch.tensor([tokens], device=model.device)
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
        return logits
    finally:
        model.set_attn_implementation(NAME)


def _splits(max_positions: int) -> tuple[int, ...]:
    return SPLITS if sum(SPLITS) <= max_positions else (max_positions - max_positions // 2, max_positions // 2)


def _concurrent(engine: Engine, tokens: list[int], splits: list[int]) -> Tensor:
    """The logits of the same tokens, each block read from the next ones; the last logits as a worker asks for them."""
    blocks, logits, first = [], [], 0
    for number, count in enumerate(splits):
        if number < MAX_BLOCKS:
            blocks.append(engine.block())
        logits.append(engine.forward([Row(blocks, tokens[first : first + count])], all_positions=True))
        first += count
    blocks[-1].truncate(len(blocks[-1]) - splits[-1])
    logits[-1][-1:] = engine.forward([Row(blocks, tokens[-splits[-1] :])])
    for block in blocks:
        block.free()
    return torch.cat(logits)
