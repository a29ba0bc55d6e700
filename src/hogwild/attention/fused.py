"""Concurrent attention by the compiled kernel (`native/attention.cpp`), for bfloat16 and float32 on the CPU.

It reads keys and values where they lie, once for all rows and query heads that share them, and computes in float32.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hogwild.attention.plan import Plan
from hogwild.geometry import Layer, Rotary

DTYPES = (torch.bfloat16, torch.float32)


class _Layer(ctypes.Structure):  # the structures mirror those of the kernel
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("heads", "kv_heads", "key_dim", "value_dim")),
        *((name, ctypes.c_float) for name in ("scale", "softcap")),
        *((name, ctypes.c_void_p) for name in ("sinks", "swap")),
        ("runs", ctypes.c_int64),
    )


class _Pass(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "spans")),
        *((name, ctypes.c_void_p) for name in ("span", "low", "high", "cos", "sin")),
    )


class _Tensors(ctypes.Structure):
    _fields_ = (
        ("query", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("query_head_stride", "query_token_stride")),
        *((name, ctypes.c_void_p) for name in ("keys", "values")),
        *((name, ctypes.c_int64) for name in ("slots", "int8")),
        ("out", ctypes.c_void_p),
    )


class _Held(NamedTuple):
    """A structure, and what its addresses point to."""

    structure: ctypes.Structure
    alive: tuple[Tensor | np.ndarray | None, ...]


class FusedAttention:
    """The same as `plain_attention`, with the same arguments.

    For a query of one of `DTYPES`; keys and values have its dtype or 8 bits (`hogwild.cache.int8`).
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._attend = library.hogwild_attend
        self._attend.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 2
        self._attend.restype = None
        self._layers: dict[int, tuple[Layer, _Held]] = {}

    def __call__(self, query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
        """Attend from ``query`` [H, T, D] to ``keys`` [K, slots, D] and ``values`` [K, slots, V]; returns [T, H, V]."""
        if query.stride(-1) != 1:
            query = query.contiguous()
        out = query.new_empty(plan.tokens, layer.heads, layer.value_dim)
        tensors = _Tensors(
            query=query.data_ptr(),
            query_head_stride=query.stride(0),
            query_token_stride=query.stride(1),
            keys=keys.data_ptr(),
            values=values.data_ptr(),
            slots=keys.shape[1],
            int8=keys.dtype == torch.int8,
            out=out.data_ptr(),
        )
        self._attend(
            ctypes.addressof(self._layer(layer).structure),
            ctypes.addressof(_lay_out(plan, layer).structure),
            ctypes.addressof(tensors),
            query.dtype == torch.bfloat16,
            torch.get_num_threads(),
        )
        return out

    def _layer(self, layer: Layer) -> _Held:
        known = self._layers.get(id(layer))
        if known is None:
            known = self._layers[id(layer)] = layer, _describe(layer)  # the layer is held, so its id stays its own
        return known[1]


def _describe(layer: Layer) -> _Held:
    sinks = None if layer.sinks is None else layer.sinks.detach().float().contiguous()
    swap = None if layer.rotary is None else _swap(layer.rotary, layer.key_dim)
    runs = swap is not None and all(bool((part.diff() == 1).all()) for part in swap.split(16))
    structure = _Layer(
        layer.heads,
        layer.kv_heads,
        layer.key_dim,
        layer.value_dim,
        layer.scale,
        layer.softcap or 0.0,
        None if sinks is None else sinks.data_ptr(),
        None if swap is None else swap.data_ptr(),
        runs,
    )
    return _Held(structure, (sinks, swap))


def _swap(rotary: Rotary, head_dim: int) -> Tensor:
    return rotary.rotation(torch.zeros(1), head_dim, torch.float32, torch.device("cpu")).swap


def _lay_out(plan: Plan, layer: Layer) -> _Held:
    """The plan as the kernel reads it, made once for all layers of a window and a rotation."""
    key = (FusedAttention, layer.window, layer.rotary, layer.key_dim)
    if key not in plan.shared:
        sight = plan.sight(layer.window)
        spans = np.array(
            [(s.first_slot, s.last_slot, s.first_token, s.last_token, s.pair, s.offset) for s in sight.spans],
            dtype=np.int64,
        )
        cos, sin = None, None
        if layer.rotary is not None and plan.rotates:
            turned = plan.rotation(layer.rotary, layer.key_dim, torch.float32)
            cos, sin = turned.cos.contiguous(), turned.sin.contiguous()
        structure = _Pass(
            plan.tokens,
            len(sight.spans),
            spans.ctypes.data,
            sight.low.ctypes.data,
            sight.high.ctypes.data,
            None if cos is None else cos.data_ptr(),
            None if sin is None else sin.data_ptr(),
        )
        plan.shared[key] = _Held(structure, (spans, sight.low, sight.high, cos, sin))
    held: _Held = plan.shared[key]
    return held
