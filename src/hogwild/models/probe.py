"""Measure each layer's attention on the model itself, so that nothing about a family is taken on trust.

One token is fed many times at different positions, and each of them attends to itself alone. Its hidden state is
then the same everywhere, so that in every layer the query at position p is the query at position 0, rotated by p.
The rotation is identified among those that the model's own frequencies allow; where none explains what is seen, the
model puts positions elsewhere and is refused. Windows are read off the rule of the layer's mask, soft caps and sinks
off the keyword arguments of the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hogwild.errors import ModelUnsupported
from hogwild.geometry import Layer, Pairing, Rotary
from hogwild.models.hook import ARGUMENT, NAME, PROBE, MaskRule, mask_rule

HONOURED = {"scaling", "sliding_window", "softcap", "s_aux"}
# These say nothing about what a token sees at inference, or repeat what we gave the model ourselves.
HARMLESS = {"dropout", "position_ids", "is_causal", "use_cache", "output_attentions", "output_hidden_states"}
HARMLESS |= {"return_dict", "cache_position", "output_router_logits", "position_embeddings", "training"}


@dataclass(frozen=True)
class Call:
    """What one layer gave to its attention function."""

    query: Tensor  # [H, T, D]
    key: Tensor  # [K, T, D]
    value_dim: int
    rule: MaskRule | None  # None: no mask
    options: dict[str, Any]


class Recorder:
    """A pass in which every token attends to itself alone; it keeps what the layers brought."""

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Record the call and return each token's own value."""
        index = getattr(module, "layer_idx", None)
        if not isinstance(index, int) or index in self.calls:
            raise ModelUnsupported(
                f"{type(module).__name__} attends more than once in a layer, or outside of its layers"
            )
        rule = None if mask is None else mask_rule(mask)
        if mask is not None and rule is None:
            raise ModelUnsupported(f"{type(module).__name__} brings a mask of its own")
        self.calls[index] = Call(query[0], key[0], value.shape[-1], rule, options)
        group = query.shape[1] // key.shape[1]
        weight = torch.ones(query.shape[1], dtype=value.dtype, device=value.device)
        sinks = options.get("s_aux")
        if sinks is not None:  # a token that sees itself and the sink; both rotations cancel in its score
            scores = (query[0] * key[0].repeat_interleave(group, 0)).sum(-1)[:, 0].float() * options["scaling"]
            weight = torch.sigmoid(scores - sinks.float()).to(value.dtype)
        return (value.repeat_interleave(group, 1) * weight[None, :, None, None]).transpose(1, 2).contiguous()


@torch.no_grad()
def measure_layers(model: PreTrainedModel, max_positions: int) -> tuple[Layer, ...]:
    """The geometry of every attention layer. Raises `ModelUnsupported` with the reason where it cannot be exact."""
    positions = _positions(max_positions)
    calls = _record(model, positions)
    wanted = model.config.get_text_config().num_hidden_layers
    if sorted(calls) != list(range(wanted)):
        raise ModelUnsupported(
            f"of its {wanted} layers, {len(calls)} have attention that can be replaced: the others are recurrent or "
            "linear, or bring their own"
        )
    rotaries = list(_candidates(model))
    placed = {dim: list(_placed(rotaries, dim)) for dim in {call.query.shape[-1] for call in calls.values()}}
    return tuple(_layer(calls[i], positions, placed[calls[i].query.shape[-1]], f"layer {i}") for i in range(wanted))


def _record(model: PreTrainedModel, positions: list[int]) -> dict[int, Call]:
    """One forward of the same token at ``positions``; what each layer brought."""
    recorder = Recorder()
    tokens = torch.full((1, len(positions)), _ordinary_token(model), device=model.device)
    places = torch.tensor([positions], device=model.device)
    # Given a mask of padding, transformers does not take gaps between positions for the borders of packed sequences.
    everything = torch.ones_like(tokens)
    keep = {"logits_to_keep": torch.arange(len(positions), device=model.device)} if keeps_logits(model) else {}
    model.set_attn_implementation(PROBE)
    try:
        inputs = {"input_ids": tokens, "position_ids": places, "attention_mask": everything, **keep}
        model(**inputs, use_cache=False, **{ARGUMENT: recorder})
    finally:
        model.set_attn_implementation(NAME)
    return recorder.calls


def keeps_logits(model: PreTrainedModel) -> bool:
    """Whether the model's forward can be told for which tokens to compute logits."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def _positions(max_positions: int) -> list[int]:
    wanted = {0, 1, 2, 3, 7, 17, 61, 300, max_positions - 1}
    return sorted(p for p in wanted if 0 <= p < max_positions)


def _ordinary_token(model: PreTrainedModel) -> int:
    """A token that is no special one, as padding may have an embedding of zero."""
    return int(model.get_input_embeddings().num_embeddings) // 2


def _candidates(model: PreTrainedModel) -> Iterator[Rotary]:
    """One rotary of each pairing and sense of turning for each set of frequencies that the model holds."""
    seen = set[tuple[float, ...]]()
    for name, buffer in model.named_buffers():
        if not name.endswith("inv_freq") or name.endswith("original_inv_freq"):
            continue
        frequencies = buffer.detach().double().cpu()
        key = tuple(frequencies.tolist())
        if key not in seen:
            seen.add(key)
            pairings: tuple[Pairing, ...] = ("half", "interleaved")
            yield from (Rotary(turns, pairing) for turns in (frequencies, -frequencies) for pairing in pairings)


def _layer(call: Call, positions: list[int], rotaries: list[Rotary], where: str) -> Layer:
    _check_options(call.options, where)
    sinks = call.options.get("s_aux")
    return Layer(
        heads=call.query.shape[0],
        kv_heads=call.key.shape[0],
        key_dim=call.key.shape[-1],
        value_dim=call.value_dim,
        scale=float(call.options["scaling"]),
        rotary=_identify(call.query, positions, rotaries, where),
        window=_window(call, positions[-1] + 1, where),
        softcap=call.options.get("softcap"),
        sinks=None if sinks is None else sinks.detach(),
    )


def _check_options(options: dict[str, Any], where: str) -> None:
    if options.get("scaling") is None:
        raise ModelUnsupported(f"{where}: the model does not say how it scales its scores")
    if options.get("dropout"):
        raise ModelUnsupported(f"{where}: dropout is on; call model.eval() first")
    unknown = {name for name, value in options.items() if value is not None} - HONOURED - HARMLESS
    if unknown:
        raise ModelUnsupported(
            f"{where}: attention takes options that are not known here: {', '.join(sorted(unknown))}"
        )


def _window(call: Call, max_positions: int, where: str) -> int | None:
    """How many positions a token sees, None for all. What the mask hides and what the call says have to agree."""
    told = call.options.get("sliding_window")
    window = max_positions if call.rule is None else _seen(call.rule, max_positions, where)
    if told is not None and min(int(told), max_positions) != window:
        raise ModelUnsupported(f"{where}: the call has sliding_window={told}, but the mask lets a token see {window}")
    return window if window < max_positions else None


def _seen(rule: MaskRule, max_positions: int, where: str) -> int:
    """The width of the window that a mask's rule describes, tried at the end, the middle and a third of the context."""
    zero, keys, last = torch.tensor(0), torch.arange(max_positions), max_positions - 1
    window = int(rule(zero, zero, torch.tensor(last), keys).sum())
    for here in (last, max_positions // 2, max_positions // 3):
        expected = (keys <= here) & (keys > here - window)
        if not torch.equal(rule(zero, zero, torch.tensor(here), keys).expand_as(expected), expected):
            raise ModelUnsupported(f"{where}: the mask is neither causal nor a sliding window")
    return window


def _identify(query: Tensor, positions: list[int], rotaries: list[Rotary], where: str) -> Rotary | None:
    """The rotation that turns the query of position 0 into those of the others; None where nothing turns."""
    wide = query.double().cpu()
    largest = float(wide.norm(dim=-1).max())
    # Rounding alone: eps of the dtype on query, cos and sin; and float32 angles, wrong by eps times the position.
    allowed = largest * (8 * torch.finfo(query.dtype).eps + 2 * positions[-1] * torch.finfo(torch.float32).eps)
    best, least = None, float((wide - wide[:, :1]).norm(dim=-1).max())
    for rotary in rotaries:
        turn = rotary.rotation(torch.tensor(positions), query.shape[-1], torch.float64, wide.device)
        error = float((turn(wide[:, :1].expand_as(wide)) - wide).norm(dim=-1).max())
        if error < least:
            best, least = rotary, error
    if not least <= allowed:
        raise ModelUnsupported(
            f"{where}: positions are not a rotation that the model's own frequencies explain (off by "
            f"{least / largest:.1e} of the query): learned positions, ALiBi and the like cannot be moved exactly"
        )
    return best


def _placed(rotaries: list[Rotary], head_dim: int) -> Iterator[Rotary]:
    """The candidates at the front and at the back of a head (MLA rotates the back)."""
    for rotary in rotaries:
        width = 2 * len(rotary.inv_freq)
        if width <= head_dim:
            yield rotary
        if width < head_dim:
            yield Rotary(rotary.inv_freq, rotary.pairing, head_dim - width)
