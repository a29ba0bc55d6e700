"""The self-test that ends every load: is concurrent attention exact on this very model?

One worker writes a random context that is split over several blocks, in passes of several sizes. Its logits must be
those of the model's own forward over the same tokens in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hogwild.cache import Block
from hogwild.engine.passes import Row
from hogwild.errors import ModelUnsupported
from hogwild.models.hook import NAME

SPLITS = (19, 1, 12, 9, 1, 6)
"""Tokens in each pass; each goes into a block of its own but the fourth and later, which share one."""

MAX_BLOCKS = 4

FLOAT_TOLERANCE = 1e-4
"""Largest difference of a logit over the largest logit, float32 and float64. A score of size s carries a rounding error
of s * 6e-8 through the softmax of each layer; real models have scores of up to a few hundred and 24 to 64 layers. Wrong
rotations are off by 0.04 and more. (float64 models still take their angles, norms or softmax in float32.)"""

SHIFTS = (1, 50)
"""Half precision: how far the whole context is moved to see what rounding does. RoPE's logits stay what they are."""

HALF_TRIES = 3
"""Half precision: how many contexts are tried, as rounding may send most tokens of one to other experts. What is wrong
with positions or masks is wrong in all of them."""


class Tested(Protocol):
    """What the test needs of an engine."""

    name: str
    model: PreTrainedModel
    vocab_size: int
    max_positions: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the model and its cache."""

    @property
    def rounds(self) -> bool:
        """Whether the model rounds in its layers: half precision, or the 8-bit inputs of quantised weights."""

    def block(self) -> Block:
        """A new, empty block."""

    def forward(self, rows: Sequence[Row], *, all_positions: bool = False) -> Tensor:
        """Logits [rows, vocab], or [tokens, vocab] of all positions."""


@dataclass(frozen=True)
class ExactnessReport:
    """What the self-test found.

    ``difference`` is the largest one of any logit relative to the largest logit (float32, float64), or that of the
    calmest quarter of the tokens, see `calm_difference` (half precision and quantised weights).
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
def self_test(engine: Tested) -> ExactnessReport:
    """Compare both forwards. Raises `ModelUnsupported` when they differ by more than rounding."""
    for seed in range(HALF_TRIES if engine.rounds else 1):
        report = _compare(engine, seed)
        if report.exact:
            return report
    raise ModelUnsupported(
        f"{engine.name}: not exact. One worker's context split over blocks gives logits that differ by "
        f"{report.difference:.1e} from the model's own forward; rounding explains {report.tolerance:.1e}"
    )


def _compare(engine: Tested, seed: int) -> ExactnessReport:
    splits = _splits(engine.max_positions)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(engine.vocab_size, (sum(splits),), generator=generator).tolist()
    theirs, ours = plain_logits(engine, tokens), _concurrent(engine, tokens, splits)
    if engine.rounds:
        moved = slice(splits[0], None)  # the tokens that read another block than their own
        difference, tolerance = calm_difference(ours[moved], theirs[moved]), _rounding_noise(engine, tokens, theirs)
    else:
        difference, tolerance = largest_difference(ours, theirs), FLOAT_TOLERANCE
    return ExactnessReport(difference, tolerance, len(tokens), str(engine.dtype).removeprefix("torch."))


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference over the largest absolute logit."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())


def calm_difference(ours: Tensor, theirs: Tensor) -> float:
    """The length of the difference over that of the logits: the first quartile over the tokens.

    In half precision, and where inputs are rounded to 8 bits, single logits are all noise, and in a mixture of experts
    rounding sends some tokens to other experts, and all is different then. What is wrong with positions or masks is
    wrong for every token.
    """
    lengths = (ours.double() - theirs.double()).norm(dim=-1) / theirs.double().norm(dim=-1)
    return float(lengths.quantile(0.25))


def _rounding_noise(engine: Tested, tokens: list[int], eager: Tensor) -> float:
    """What rounding explains: twice the largest difference between ways in which the model itself can compute.

    At least what float32 may be off by: inputs of 8 bits may hide all that these ways differ in.
    """
    others = [plain_logits(engine, tokens, shift=s) for s in SHIFTS if s + len(tokens) <= engine.max_positions]
    with suppress(ValueError, ImportError):  # transformers' way to say that the model has no SDPA attention
        others.append(plain_logits(engine, tokens, "sdpa"))
    return max(2 * max((calm_difference(other, eager) for other in others), default=0.0), FLOAT_TOLERANCE)


def plain_logits(engine: Tested, tokens: list[int], implementation: str = "eager", shift: int = 0) -> Tensor:
    """The logits [tokens, vocab] of the model's own forward, with one of transformers' attentions and no cache.

    The positions count from ``shift``.
    """
    model = engine.model
    try:
        model.set_attn_implementation(implementation)
        ids = torch.tensor([tokens], device=model.device)
        positions = torch.arange(shift, shift + len(tokens), device=model.device)[None]
        logits: Tensor = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        return logits
    finally:
        model.set_attn_implementation(NAME)


def _splits(max_positions: int) -> tuple[int, ...]:
    return SPLITS if sum(SPLITS) <= max_positions else (max_positions - max_positions // 2, max_positions // 2)


def _concurrent(engine: Tested, tokens: list[int], splits: Sequence[int]) -> Tensor:
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
