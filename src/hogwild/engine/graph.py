"""Passes through buffers that stay where they are, each recorded once as a CUDA graph and then replayed.

A pass of a few tokens is hundreds of small launches, and launching them takes longer than running them. A graph
launches all of them at once. It needs the Triton kernels, a model whose forward asks the GPU for nothing, and CUDA;
without ``capture`` the same passes run through the same buffers, launch by launch, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from hogwild.attention.buffers import Bucket, Buffers
from hogwild.attention.plan import Plan
from hogwild.attention.tables import make_tables, seen_lengths
from hogwild.attention.triton_path import check_supported, kind_of, launch, splits_wanted, tile_tokens
from hogwild.cache import Pool
from hogwild.engine.passes import ConcurrentPass, Row, asked_places
from hogwild.errors import ModelUnsupported
from hogwild.geometry import Layer

MOST_TOKENS = 256
"""Longer passes are not recorded: they keep the GPU busy anyway, and each size of them would take memory."""

WARM_UPS = 2
"""Runs before a pass is recorded, in which Triton compiles and libraries set themselves up."""

Forward = Callable[[Tensor, Tensor, Tensor | None, ConcurrentPass], Tensor]
"""``f(ids [1, T], positions [1, T], last [R], pass)`` gives the logits after the tokens ``last`` [R, vocab]."""


class FixedPasses:
    """Runs passes of up to `MOST_TOKENS` tokens through buffers, one set for each bucket of sizes.

    It takes one page of the pool for itself: what fills a bucket up is written there.
    """

    def __init__(self, forward: Forward, pool: Pool, *, capture: bool) -> None:
        self._forward = forward
        self._pool = pool
        self._capture = capture
        self._recorded: dict[Bucket, _Recorded] = {}
        first = pool.allocate(1)[0] * pool.page_size
        self._spare = torch.arange(first, first + pool.page_size)
        for layer in pool.layers:
            check_supported(layer, torch.empty(0, dtype=pool.dtype), pool.keys[0], pool.page_size)
        self._wanted = min(splits_wanted(layer, pool.device) for layer in pool.layers)
        self._tile = max(tile_tokens(layer) for layer in pool.layers)
        # What is under way in one graph is over when another one runs: they can have the same memory for it.
        self._shared = torch.cuda.graph_pool_handle() if capture else None
        self._kinds = {kind for layer in pool.layers if (kind := kind_of(layer)) is not None}

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The sizes that have been used so far."""
        return tuple(self._recorded)

    def fits(self, plan: Plan) -> bool:
        """Whether a pass is short enough, and of the pool that the buffers belong to."""
        return plan.tokens <= MOST_TOKENS and plan.readings[0].view[-1].pool is self._pool

    def run(self, rows: Sequence[Row], plan: Plan) -> Tensor:
        """The logits after each row's last token and before its drafts, float32 [rows + drafts, vocab]."""
        bucket = self._bucket(plan)
        if bucket not in self._recorded:
            buffers = Buffers(bucket, self._kinds, self._spare, self._pool.page_size, self._pool.device)
            self._recorded[bucket] = _Recorded(self._forward, buffers, self._pool, self._shared)
        recorded = self._recorded[bucket]
        last = asked_places(rows)
        ids = [token for row in rows for token in row.tokens]
        recorded.buffers.fill(make_tables(plan, self._wanted, self._tile), ids, *plan.on_cpu, last)
        return recorded.run(self._capture)[: len(last)].clone()

    def _bucket(self, plan: Plan) -> Bucket:
        pages = sum(-(-length // self._pool.page_size) for length in seen_lengths(plan))
        return Bucket.holding(plan.tokens, len(plan.readers), pages, len(plan.ends), self._wanted, self._tile)


class _Recorded:
    """The pass of one bucket, and its graph once it is recorded."""

    def __init__(self, forward: Forward, buffers: Buffers, pool: Pool, shared: Any) -> None:
        self.buffers = buffers
        self._forward = forward
        # A pass asks its plan for nothing but the slots, and hands it on to the attention function.
        self._pass = ConcurrentPass(cast(Plan, buffers), pool, _attend)
        self._shared = shared  # the memory of all graphs
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = torch.empty(0)

    def run(self, capture: bool) -> Tensor:
        """Logits [tokens of the bucket, vocab]; with ``capture`` the same tensor after every replay."""
        if not capture:
            return self._once()
        if self._graph is None:
            self._graph = self._record()
        self._graph.replay()
        return self._logits

    def _once(self) -> Tensor:
        buffers = self.buffers
        buffers.turn()
        return self._forward(buffers.ids, buffers.positions, buffers.last, self._pass)

    def _record(self) -> torch.cuda.CUDAGraph:
        """Record the pass. To run it more than once changes nothing: it writes the same keys to the same slots."""
        graph = torch.cuda.CUDAGraph()
        for _ in range(WARM_UPS):
            self._once()
        try:
            with torch.cuda.graph(graph, pool=self._shared):
                self._logits = self._once()
        except RuntimeError as error:
            line = (str(error).splitlines() or ["no reason given"])[0]
            raise ModelUnsupported(
                f"this model's forward cannot be recorded as a CUDA graph ({line[:160]}): load it without graphs"
            ) from error
        return graph


def _attend(query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
    return launch(query, layer, keys, values, cast(Buffers, plan).tables)
