"""How far an attention function may be from the reference: what rounding explains, from the sizes of the numbers.

With u the unit roundoff of what is stored, e that of float32, D the key size and L the length of the view:

- a score ``scale * <q, k>`` sums D products in float32, its query was turned in float32 and stored: it is off by at
  most ``scale * |q| |k| * (u + (D + 8) e)``, and a soft cap adds ``4 e`` times the cap;
- a weight of the softmax is then off by twice that, relative to itself, and by u as it is stored;
- the output is an average of the values by these weights: off by so much of the largest value, by ``(L + 8) e`` for the
  sums and the merge, and by u as it is stored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hogwild.attention.plan import Plan
from hogwild.geometry import Layer

FLOAT32 = 2.0**-24
UNITS = {torch.float32: FLOAT32, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Unit roundoff. bfloat16 counts double, as a GPU may cut where it should round."""


def tolerance(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> float:
    """The largest difference to `reference_attention` that rounding explains, with the same arguments as it has."""
    u, e = UNITS[query.dtype], FLOAT32
    blocks = {id(block): block for reading in plan.readings for block in reading.view}.values()
    slots = torch.cat([block.slots(0, len(block)) for block in blocks])
    longest = max(sum(reading.lengths) for reading in plan.readings)
    size = abs(layer.scale) * float(query.float().norm(dim=-1).max() * keys[:, slots].float().norm(dim=-1).max())
    score = size * (u + (layer.key_dim + 8) * e) + 4 * e * (layer.softcap or 0.0)
    return (2 * score + 2 * u + (longest + 8) * e) * float(values[:, slots].float().abs().max())
