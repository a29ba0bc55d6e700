"""Where a pass goes: its own parts are timed while it runs, and what is in none of them is left over as ``other``.

Each part counts its own time only: a rotation inside attention is rotation. So the parts add up to the pass. The
clocks cost a little themselves (two readings a call), which shows in `other`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from torch import nn

from hogwild.bench import workload
from hogwild.engine import passes
from hogwild.geometry import Rotary, Rotation

OTHER = "other"
PARTS = ("linear", "attention", "rotation", "norm", "activation", "plan", "sampling", OTHER)
"""``plan``: slots, pages and rotations of the pass worked out; ``other``: Python and small operations."""


@dataclass(frozen=True)
class Part:
    """A part of a pass: ``seconds`` and ``calls`` in one pass on average."""

    name: str
    seconds: float
    calls: float


class Stopwatch:
    """Times nested calls; each gets the time that none of the calls inside it took."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._clock = clock
        self._inside = [0.0]  # for each open call, the time of the timed calls inside it

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed as ``name``."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.time(name):
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time what happens inside as ``name``."""
        self._inside.append(0.0)
        start = self._clock()
        try:
            yield
        finally:
            whole = self._clock() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inside.pop()
            self.calls[name] = self.calls.get(name, 0) + 1
            self._inside[-1] += whole


def profile(load: workload.Workload, count: int) -> tuple[Part, ...]:
    """The parts of a pass of ``load``, each averaged over ``count`` passes; they add up to the profiled pass."""
    watch = Stopwatch()
    with ExitStack() as patches:
        for target, name, part in _targets(load):
            patches.enter_context(patch.object(target, name, watch.wrap(part, getattr(target, name))))
        for _ in range(count):
            with watch.time(OTHER):
                load.step()
    load.rewind()
    return tuple(
        Part(name, watch.seconds[name] / count, watch.calls[name] / count) for name in PARTS if name in watch.seconds
    )


def _targets(load: workload.Workload) -> Iterator[tuple[Any, str, str]]:
    """What is timed: an object, the name of its function, the part that it belongs to."""
    engine = load.engine
    yield engine, "attention", "attention"
    yield workload, "sample", "sampling"
    yield Rotation, "__call__", "rotation"
    yield Rotary, "rotation", "rotation"
    yield passes, "reserve", "plan"
    yield passes, "plan_pass", "plan"
    for code in {type(module).__module__ for module in engine.model.modules()}:
        for name in ("apply_rotary_pos_emb", "apply_rotary_emb"):  # as transformers' model files call it
            if hasattr(sys.modules[code], name):
                yield sys.modules[code], name, "rotation"
    for module in engine.model.modules():
        part = kind(module)
        if part is not None:
            yield module, "forward", part


def kind(module: nn.Module) -> str | None:
    """The part that a module's own work belongs to, None for one that is timed by what it calls."""
    name = type(module).__name__
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return "linear"
    if "Rotary" in name:
        return "rotation"
    if "Norm" in name:
        return "norm"
    if "activation" in type(module).__module__:
        return "activation"
    return None
