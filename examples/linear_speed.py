"""One linear layer in every format, here and in the libraries that torch brings: ms and GB/s of weights.

    python examples/linear_speed.py [--inputs 1536] [--outputs 8960] [--rows 1,2,4,8,16,512] [--rounds 15] [--cpu-time]

Weights lie beyond the cache: several copies of the layer are read in turn. All ways take turns in every round; the
figure is the median of the rounds, with the best behind it. The first line is what reading alone gives, just before.
--cpu-time counts the time of the processor in place of the clock's: for a machine that is not quiet, with one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hogwild.bench.machine import Machine, read_bandwidth
from hogwild.models.linear import PackedLinear

BEYOND_CACHE = 256 << 20  # bytes of weights that are read before any is read again

Call = Callable[[Tensor], Tensor]
Way = Callable[[Tensor], tuple[Call, int]]
"""From float32 weights to a call, and the bytes that the weights take."""


def ours(form: str) -> Way:
    """The packed layer of this project."""

    def make(weight: Tensor) -> tuple[Call, int]:
        layer = PackedLinear(weight, None, form)
        return layer, layer.packed.nbytes

    return make


def plain(weight: Tensor) -> tuple[Call, int]:
    """What an unchanged model calls."""
    own = weight.bfloat16()
    return lambda x: nn.functional.linear(x, own), own.nbytes


def prepacked(weight: Tensor) -> tuple[Call, int]:
    """The product of oneDNN with weights in the layout that it chooses."""
    own = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), 4)
    call = torch.ops.mkldnn._linear_pointwise
    return lambda x: call(x, own, None, "none", [], ""), weight.nbytes // 2


def quantised_onednn(weight: Tensor) -> tuple[Call, int]:
    """The 8-bit product of oneDNN: unsigned inputs with one scale, which is worked out in the call."""
    scale = weight.abs().amax(1) / 127
    own = torch.ops.onednn.qlinear_prepack((weight / scale[:, None]).round().to(torch.int8), None)
    zeros, product = torch.zeros(len(weight), dtype=torch.int64), torch.ops.onednn.qlinear_pointwise

    def call(x: Tensor) -> Tensor:
        low, high = torch.aminmax(x.float())
        step = float(high - low) / 255
        zero = round(-float(low) / step)
        levels = (x.float() / step).round().add_(zero).clamp_(0, 255).to(torch.uint8)
        y: Tensor = product(levels, step, zero, own, scale, zeros, None, 1.0, 0, torch.bfloat16, "none", [], "")
        return y

    return call, weight.numel()


def int8_of_torch(weight: Tensor) -> tuple[Call, int]:
    """8-bit weights against bfloat16 inputs."""
    scale = (weight.abs().amax(1) / 127).bfloat16()
    own = (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return lambda x: torch._weight_int8pack_mm(x, own, scale), own.nbytes


def int4_of_torch(weight: Tensor) -> tuple[Call, int]:
    """4-bit weights in groups of 32 against bfloat16 inputs."""
    groups = weight.unflatten(1, (-1, 32))
    low, high = groups.amin(-1), groups.amax(-1)
    scale = (high - low) / 15
    levels = ((groups - low[..., None]) / scale[..., None]).round().to(torch.int32).flatten(1)
    own = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
    grid = torch.stack([scale, low + 8 * scale], -1).transpose(0, 1).contiguous().bfloat16()
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    return lambda x: product(x, own, 32, grid), own.nbytes + grid.nbytes


WAYS: dict[str, Way] = {
    "hogwild bf16": ours("bf16"),
    "hogwild bf12, else bf16": ours("bf12"),
    "hogwild int8": ours("int8"),
    "hogwild int4": ours("int4"),
    "F.linear bf16": plain,
    "oneDNN prepacked bf16": prepacked,
    "oneDNN qlinear int8": quantised_onednn,
    "torch int8pack": int8_of_torch,
    "torch int4pack": int4_of_torch,
}


@torch.inference_mode()
def table(options: argparse.Namespace) -> Iterator[str]:
    """The table, line by line."""
    weight = torch.randn(options.outputs, options.inputs, generator=torch.Generator().manual_seed(0))
    rows = [int(count) for count in options.rows.split(",")]
    inputs = {count: torch.randn(count, options.inputs).bfloat16() for count in rows}
    made = {name: [way(weight)] for name, way in WAYS.items()}
    for name, copies in made.items():
        copies += [WAYS[name](weight) for _ in range(BEYOND_CACHE // copies[0][1])]
    yield f"{Machine.here()}; reading alone: {read_bandwidth() / 1e9:.1f} GB/s"
    yield f"| {options.inputs} to {options.outputs}, ms | {' | '.join(map(str, rows))} |"
    yield "| --- " * (len(rows) + 1) + "|"
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for count in rows:
            for name, copies in made.items():
                taken.setdefault((name, count), []).append(_seconds(copies, inputs[count], options.cpu_time))
    for name, copies in made.items():
        cells = []
        for count in rows:
            middle, best = statistics.median(taken[name, count]), min(taken[name, count])
            speed = f", {copies[0][1] / middle / 1e9:.1f} GB/s" if count <= 16 else ""
            cells.append(f"{1e3 * middle:.2f} ({1e3 * best:.2f}{speed})")
        yield f"| {name} | {' | '.join(cells)} |"


def _seconds(copies: list[tuple[Call, int]], x: Tensor, cpu_time: bool) -> float:
    used, clock = copies if len(x) <= 16 else copies[:2], time.process_time if cpu_time else time.perf_counter
    start = clock()
    for call, _ in used:
        call(x)
    return (clock() - start) / len(used)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1536)
    parser.add_argument("--outputs", type=int, default=8960)
    parser.add_argument("--rows", default="1,2,4,8,16,512")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true")
    for line in table(parser.parse_args()):
        print(line)


if __name__ == "__main__":
    main()
