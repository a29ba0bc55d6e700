"""Concurrent attention by PyTorch's own ``varlen_attn``: the second path on a GPU.

The function takes sequences: some queries each, and the pages of a table that they read, whole, or causally, or as far
as a window reaches. Here a sequence is a block with the tokens that read it. All that are read whole go through one
call, one's own blocks through another, and those that a window cuts through one for each way they are cut. Each
call gives the log of the sum of its exponentials, and by these the parts are merged.

Legend: T new tokens, P (token, block) pairs, N of them in a call, Q sequences, H query heads, K KV heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hogwild.attention.plan import Plan, Reading
from hogwild.attention.tables import page_numbers
from hogwild.cache import Block
from hogwild.errors import ModelUnsupported, OptionError
from hogwild.geometry import Layer

Window = tuple[int, int]
"""How many keys before and after its own a query sees, counted from the last query and the last key; -1 is all."""

WHOLE: Window = (-1, -1)
IMPLEMENTATIONS = {9: "FA3", 10: "FA4"}
"""Which flash attention reads a table of pages, by the GPU's generation. What comes with PyTorch (FA2) reads none."""


@dataclass
class Sequence:
    """The queries (numbers of pairs) that read the first ``length`` tokens of a block."""

    block: Block
    length: int
    pairs: list[np.ndarray] = field(default_factory=list)


Groups = dict[Window, dict[tuple[int, int, int], Sequence]]
"""Of each call its sequences, by block, length and row; a block that is read whole is one sequence for all rows."""


@dataclass(frozen=True)
class Call:
    """A group on the device, as ``varlen_attn`` wants it."""

    window: Window
    pairs: Tensor  # [N] int64
    first_queries: Tensor  # [Q + 1] int32, where the queries of each sequence begin
    pages: Tensor  # [Q, most pages] int32
    used: Tensor  # [Q] int32
    most_queries: int
    most_keys: int


@dataclass(frozen=True)
class Calls:
    """All calls of a pass under one window, and where each token finds its parts."""

    calls: tuple[Call, ...]
    parts: Tensor  # [T, most parts] int64: places in the outputs of all calls; one past the last where there is none


class VarlenAttention:
    """The same as `plain_attention`, called in the same way, by ``torch.nn.attention.varlen.varlen_attn``.

    ``function`` stands in for it in tests: it runs on CUDA only, in float16 and bfloat16. Raises `ModelUnsupported` for
    layers with a soft cap or with keys and values of different sizes.
    """

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        if function is None:
            from torch.nn.attention.varlen import varlen_attn

            function = varlen_attn
        self._function = function

    def __call__(self, query: Tensor, layer: Layer, keys: Tensor, values: Tensor, plan: Plan) -> Tensor:
        """Attend from ``query`` [H, T, D] to ``keys`` [K, slots, D] and ``values`` [K, slots, V]; gives [T, H, V]."""
        check_layer(layer)
        key = (type(self), layer.window)
        if key not in plan.shared:
            plan.shared[key] = make_calls(plan, layer.window)
        ready: Calls = plan.shared[key]
        paired = query.index_select(1, plan.pair_tokens)  # [H, P, D]
        if layer.rotary is not None and plan.rotates:
            paired = plan.rotation(layer.rotary, layer.key_dim, torch.float32)(paired).to(query.dtype)
        size = plan.readings[0].view[-1].pool.page_size
        parts = [self._attend(paired, layer, _paged(keys, size), _paged(values, size), call) for call in ready.calls]
        mixed, logs = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return merge(mixed, logs, ready.parts, layer.sinks).to(query.dtype)

    def _attend(self, paired: Tensor, layer: Layer, keys: Tensor, values: Tensor, call: Call) -> tuple[Tensor, Tensor]:
        """One call: the parts [N, H, V], and the logs of the sums of their exponentials [N, H]."""
        from torch.nn.attention.varlen import AuxRequest

        mixed, logs = self._function(
            paired.index_select(1, call.pairs).transpose(0, 1).contiguous(),
            keys,
            values,
            call.first_queries,
            None,
            call.most_queries,
            call.most_keys,
            return_aux=AuxRequest(lse=True),
            scale=layer.scale,
            window_size=call.window,
            enable_gqa=layer.group > 1,
            seqused_k=call.used,
            block_table=call.pages,
        )
        # The documentation of PyTorch 2.13 says [N, H], its implementations give [H, N].
        by_query = logs if logs.shape[0] != layer.heads and logs.shape[1] == layer.heads else logs.mT
        return mixed, by_query


def merge(mixed: Tensor, logs: Tensor, parts: Tensor, sinks: Tensor | None) -> Tensor:
    """The softmax of a whole from those of its parts: ``mixed`` [N, H, V], ``logs`` [N, H], ``parts`` [T, R].

    ``sinks`` [H] is one more logit of each head. Gives [T, H, V] in float32.
    """
    weights = torch.cat([logs.float(), logs.new_full((1, logs.shape[1]), -torch.inf, dtype=torch.float32)])[parts]
    total = weights.logsumexp(1, keepdim=True)  # [T, 1, H]
    if sinks is not None:
        total = torch.logaddexp(total, sinks.to(total).expand_as(total))
    padded = torch.cat([mixed.float(), mixed.new_zeros((1, *mixed.shape[1:]), dtype=torch.float32)])
    weighed: Tensor = ((weights - total).exp()[..., None] * padded[parts]).sum(1)
    return weighed


def check_layer(layer: Layer) -> None:
    """Raise `ModelUnsupported` for what ``varlen_attn`` cannot do."""
    if layer.softcap is not None:
        raise ModelUnsupported("varlen_attn has no soft cap, which this model needs: use --attention triton or plain")
    if layer.key_dim != layer.value_dim:
        raise ModelUnsupported(
            f"varlen_attn takes keys and values of one size, not {layer.key_dim} and {layer.value_dim}: "
            "use --attention triton or plain"
        )


def activate(device: torch.device, dtype: torch.dtype) -> None:
    """Let ``varlen_attn`` use a flash attention that reads pages. Raises `OptionError` where there is none."""
    try:
        from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl
    except ImportError as error:
        raise OptionError("attention 'varlen' needs PyTorch 2.13 or newer") from error
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        raise OptionError(f"attention 'varlen' is for float16 and bfloat16 on CUDA, not for {dtype} on {device}")
    name = IMPLEMENTATIONS.get(torch.cuda.get_device_capability(device)[0])
    if name is None:
        raise OptionError("attention 'varlen' needs a GPU of generation 9 (Hopper) or 10 (Blackwell): use 'triton'")
    if current_flash_attention_impl() == name:
        return
    try:
        activate_flash_attention_impl(name)
    except Exception as error:  # each implementation fails in its own way where its package is not there
        raise OptionError(f"attention 'varlen' needs the package of flash attention {name[-1]}: {error}") from error


def make_calls(plan: Plan, window: int | None) -> Calls:
    """The calls of a pass, for layers whose tokens see the last ``window`` positions (None: all)."""
    groups = Groups()
    for readers in plan.readers:
        block, shift = readers.block, readers.pair - readers.first_token
        for row, index in readers.rows:
            reading, pairs = plan.readings[row], shift + np.arange(plan.bounds[row], plan.bounds[row + 1])
            sight, count = _sight(reading, index, window)
            if count:
                key = (id(block), reading.lengths[index], -1 if sight == WHOLE else row)
                group = groups.setdefault(sight, {})
                group.setdefault(key, Sequence(block, reading.lengths[index])).pairs.append(pairs[:count])
    calls = tuple(_call(sight, list(group.values()), plan.device) for sight, group in groups.items())
    tokens = plan.pair_tokens[torch.cat([call.pairs for call in calls])].cpu().numpy()
    return Calls(calls, torch.from_numpy(_parts(tokens, plan.tokens)).to(plan.device))


def _sight(reading: Reading, index: int, window: int | None) -> tuple[Window, int]:
    """How a row sees a block of its view, and how many of its tokens, from the first on, see anything of it."""
    if index == len(reading.view) - 1:
        return (-1 if window is None else window - 1, 0), reading.count
    # The first offset that the row's last token sees; each token before it sees one more.
    low = 0 if window is None else sum(reading.lengths) - window - reading.starts[index]
    last = reading.lengths[index] - 1
    if low <= 0:
        return WHOLE, reading.count
    blind = min(max(low - last, 0), reading.count)
    return (last - (low - blind), -1), reading.count - blind


def _call(sight: Window, sequences: list[Sequence], device: torch.device) -> Call:
    queries = [np.concatenate(sequence.pairs) for sequence in sequences]
    numbers = [page_numbers(sequence.block, sequence.length) for sequence in sequences]
    pages = np.zeros((len(sequences), max(len(line) for line in numbers)), dtype=np.int32)
    for line, filled in zip(pages, numbers, strict=True):
        line[: len(filled)] = filled
    lengths = [sequence.length for sequence in sequences]
    return Call(
        window=sight,
        pairs=torch.from_numpy(np.concatenate(queries)).to(device),
        first_queries=torch.tensor([0, *accumulate(map(len, queries))], dtype=torch.int32, device=device),
        pages=torch.from_numpy(pages).to(device),
        used=torch.tensor(lengths, dtype=torch.int32, device=device),
        most_queries=max(map(len, queries)),
        most_keys=max(lengths),
    )


def _parts(tokens: np.ndarray, count: int) -> np.ndarray:
    """Of each of ``count`` tokens, the places where it stands in ``tokens``; past the end of it where there is none."""
    order = np.argsort(tokens, kind="stable")
    sorted_tokens = tokens[order]
    rank = np.arange(len(tokens)) - np.searchsorted(sorted_tokens, sorted_tokens)
    parts = np.full((count, int(rank.max()) + 1), len(tokens), dtype=np.int64)
    parts[sorted_tokens, rank] = order
    return parts


def _paged(tensor: Tensor, page_size: int) -> Tensor:
    """Keys or values [K, slots, D] as pages [pages, page size, K, D], in place."""
    pages: Tensor = tensor.unflatten(1, (-1, page_size)).permute(1, 2, 0, 3)
    return pages
