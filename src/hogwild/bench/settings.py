"""The engines that a benchmark loads: every combination of the options that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from hogwild.engine import Engine
from hogwild.models.packaged import Progress


@dataclass(frozen=True)
class Setting:
    """How an engine is loaded, as `Engine.load` takes it; None and ``none`` are its own defaults."""

    dtype: str | None = None
    quantize: str = "none"
    kv_dtype: str | None = None
    attention: str | None = None

    def __str__(self) -> str:
        weights = self.dtype or ""
        if self.quantize != "none":  # of bfloat16, unless another dtype is named
            weights = self.quantize if self.dtype in {None, "bfloat16"} else f"{self.quantize} {self.dtype}"
        cache = f"kv {self.kv_dtype}" if self.kv_dtype else ""
        return " ".join(part for part in (weights, cache, self.attention) if part) or "as stored"

    def named(self, engine: Engine) -> Setting:
        """The same with the dtype that the engine has come to."""
        return replace(self, dtype=self.dtype or str(engine.dtype).removeprefix("torch."))

    def load(
        self, model: str, *, device: str = "cpu", kv_memory: int | None = None, progress: Progress | None = None
    ) -> Engine:
        """The engine. Raises as `Engine.load` does."""
        chosen = {"dtype": self.dtype, "kv_dtype": self.kv_dtype, "attention": self.attention}
        given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        return Engine.load(
            model, device=device, quantize=self.quantize, kv_memory=kv_memory, progress=progress, **given
        )


def combinations(
    dtypes: Sequence[str | None],
    quantize: Sequence[str],
    kv_dtypes: Sequence[str | None],
    attention: Sequence[str | None],
) -> Iterator[Setting]:
    """Every combination, in the order given."""
    for dtype, weights, kv, function in product(dtypes, quantize, kv_dtypes, attention):
        yield Setting(dtype, weights, kv, function)
