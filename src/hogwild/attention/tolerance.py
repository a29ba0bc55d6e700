"""How far an attention function may be from the reference: what rounding explains, from the sizes of the numbers.

With u the unit roundoff of what is stored, e that of float32, D the key size and L the length of the view:

- The query is turned in float32 and stored, each dim off by up to u of it, up or down. A score ``scale * <q, k>`` sums
  D such errors: its own has a deviation of ``scale * u / sqrt(3) * |q∘k|``, where |q∘k| is at most the product of the
  4-norms. Six deviations are allowed, as there are many scores. Sums and exponentials in float32 add
  ``8 e scale |q| |k|``, and a soft cap ``4 e`` times the cap.
- A weight of the softmax is then off by twice that, relative to itself. Each output is an average of values by these
  weights: it moves by that much of how the values spread, for which their root mean square stands.
- A weight and the output are stored, each off by u of the largest value; the sums over L weights and the merge add
  ``(6 sqrt(L) + 8) e`` of it.

That is for random numbers, as the checks use them, where errors add up as they fall.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from hogwild.attention.plan import Plan
from hogwild.cache.int8 import unpack
from hogwild.geometry import Layer

FLOAT32 = 2.0**-24
UNITS = {torch.float32: FLOAT32, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Unit roundoff."""

DEVIATIONS = 6 / sqrt(3)


def tolerance(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> float:
    """The largest difference to `reference_attention` that rounding explains, with the same arguments as it has."""
    u, e = UNITS[query.dtype], FLOAT32
    blocks = {id(block): block for reading in plan.readings for block in reading.view}.values()
    slots = torch.cat([block.slots(0, len(block)) for block in blocks])
    seen, contents = (unpack(stored[:, slots], torch.float32).float() for stored in (keys, values))
    longest = max(sum(reading.lengths) for reading in plan.readings)
    stored = DEVIATIONS * (u + 4 * e) * _longest(query, 4) * _longest(seen, 4)
    summed = 8 * e * _longest(query, 2) * _longest(seen, 2)
    score = abs(layer.scale) * (stored + summed) + 4 * e * (layer.softcap or 0.0)
    largest, spread = float(contents.abs().max()), float(contents.square().mean().sqrt())
    return 2 * score * spread + (2 * u + (6 * sqrt(longest) + 8) * e) * largest


def _longest(vectors: Tensor, norm: int) -> float:
    return float(vectors.float().norm(norm, dim=-1).max())
