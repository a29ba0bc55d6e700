"""The path over ``varlen_attn``: what is asked of it, and the merge. The function itself runs on GPUs only, and no GPU
is here, so that a stand-in takes its place: its documented contract once more, in plain PyTorch.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hogwild.attention import reference_attention
from hogwild.attention.varlen import WHOLE, VarlenAttention, activate, check_layer, make_calls, merge
from hogwild.errors import ModelUnsupported, OptionError
from test_plan import BASE, LAYERS, RAGGED, any_rows, case
from tiny import chain_difference, tiny_engine

FITTING = {kind: layer for kind, layer in LAYERS.items() if not layer.softcap and layer.key_dim == layer.value_dim}
FITTING["window and sinks"] = replace(LAYERS["sinks"], window=20)


def stand_in(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
    seqused_k: Tensor,
    block_table: Tensor,
) -> tuple[Tensor, Tensor]:
    """What ``varlen_attn`` says that it does, for one sequence after the other. As implementations do, gives [H, N]."""
    assert cu_seq_k is None  # it belongs to keys that lie one after the other
    assert return_aux.lse
    assert all(tensor.dtype == torch.int32 for tensor in (cu_seq_q, seqused_k, block_table))
    assert query.is_contiguous()
    assert key.stride(-1) == value.stride(-1) == 1
    assert enable_gqa == (query.shape[1] != key.shape[2])
    outputs, logs = [], []
    bounds, (left, right) = cu_seq_q.tolist(), window_size
    assert max_q == max(end - begin for begin, end in pairwise(bounds))
    assert max_k == int(seqused_k.max())
    for (first, last), used, pages in zip(pairwise(bounds), seqused_k.tolist(), block_table.tolist(), strict=True):
        assert used > 0
        assert last > first
        chosen = pages[: -(-used // key.shape[1])]
        keys, values = (x[chosen].flatten(0, 1)[:used].transpose(0, 1) for x in (key, value))  # [K, L, D]
        group = query.shape[1] // key.shape[2]
        scores = query[first:last].transpose(0, 1) @ keys.repeat_interleave(group, 0).mT * scale  # [H, N, L]
        ahead = torch.arange(used)[None, :] - (torch.arange(last - first)[:, None] + used - (last - first))
        hidden = ((ahead > right) & (right >= 0)) | ((ahead < -left) & (left >= 0))
        scores = scores.masked_fill(hidden, -torch.inf)
        outputs.append((scores.softmax(-1) @ values.repeat_interleave(group, 0)).transpose(0, 1))
        logs.append(scores.logsumexp(-1))
        assert not logs[-1].isinf().any()  # a query that sees nothing is not asked for
    return torch.cat(outputs), torch.cat(logs, 1)


@pytest.mark.parametrize("kind", FITTING)
def test_varlen_equals_the_reference(kind: str) -> None:
    made = case(FITTING[kind], [40, 5, 17, 33], RAGGED, torch.float64, 16)
    ours, theirs = made.by(VarlenAttention(stand_in)), made.by(reference_attention)
    assert float((ours - theirs).abs().max()) <= 1e-5  # the merge and the extra rotation work in float32


@settings(max_examples=40)
@given(st.data())
def test_varlen_equals_the_reference_for_any_rows(data: st.DataObject) -> None:
    layer = FITTING[data.draw(st.sampled_from(sorted(FITTING)))]
    if layer.window is not None:
        layer = replace(layer, window=data.draw(st.integers(1, 60)))
    lengths, rows = any_rows(data, 50, most_blocks=5)
    made = case(layer, lengths, rows, torch.float64)
    ours, theirs = made.by(VarlenAttention(stand_in)), made.by(reference_attention)
    assert float((ours - theirs).abs().max()) <= 1e-5


def test_a_block_is_one_sequence_for_all_rows_that_see_it_whole() -> None:
    made = case(BASE, [40, 3, 4, 5], [([0, 2, 3, 1], 1), ([0, 1, 3, 2], 2), ([0, 1, 2, 3], 1)])
    calls = make_calls(made.plan, None).calls
    assert {call.window: len(call.used) for call in calls} == {WHOLE: 4, (-1, 0): 3}
    assert calls[0].used.tolist()[0] == 40
    assert calls[0].first_queries.tolist()[:2] == [0, 4]  # all four tokens


def test_logs_may_come_either_way() -> None:
    made = case(BASE, [40, 5, 17, 33], RAGGED, torch.float64)

    def documented(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        mixed, logs = stand_in(*args, **options)
        return mixed, logs.mT

    assert torch.equal(made.by(VarlenAttention(documented)), made.by(VarlenAttention(stand_in)))


def test_a_token_without_parts_is_nothing_but_its_sink() -> None:
    mixed, logs = torch.ones(1, 2, 4), torch.zeros(1, 2)
    merged = merge(mixed, logs, torch.tensor([[0, 1], [1, 1]]), torch.tensor([0.0, 3.0]))
    assert torch.allclose(merged[0, :, 0], torch.tensor([0.5, 1 / (1 + torch.e**3)]))
    assert torch.equal(merged[1], torch.zeros(2, 4))


@pytest.mark.parametrize("name", ["Llama", "GPT-OSS"])
def test_models(name: str) -> None:
    made = tiny_engine(name, check=False)
    made.attention = VarlenAttention(stand_in)
    assert chain_difference(made) <= 1e-4


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="no soft cap, which this model needs: use --attention triton or plain"):
        check_layer(LAYERS["soft cap"])
    with pytest.raises(ModelUnsupported, match="keys and values of one size, not 24 and 10"):
        check_layer(LAYERS["MLA"])
    with pytest.raises(OptionError, match="float16 and bfloat16 on CUDA, not for torch.float32 on cpu"):
        activate(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("generation", "reason"),
    [(8, "needs a GPU of generation 9"), (9, "needs the package of flash attention 3"), (10, "flash attention 4")],
)
def test_gpus_that_cannot_are_told_why(generation: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (generation, 0))
    with pytest.raises(OptionError, match=reason):
        activate(torch.device("cuda"), torch.bfloat16)
