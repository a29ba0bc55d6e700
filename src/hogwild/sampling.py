"""From logits to a token: small pure functions over the logits of one row, in transformers' order and meaning.

    repetition penalty -> presence and frequency penalty -> suppressed tokens -> temperature -> top_k -> top_p
    -> min_p -> pick

Shapes: V vocabulary, N tokens named by id. A dropped token has the logit ``-inf``. Nothing is changed in place, and
nothing here holds state: the one random number of a token comes from :func:`uniform`, so the same seed gives the same
tokens whatever else runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hogwild.errors import BrokenLogits, OptionError

HEADS = (6.0, 12.0)
"""``top_p`` looks first at the tokens whose logits are so near the largest: sorting 150,000 would cost more than all
the rest."""

RUN = 64
"""Logits in a run: the largest of each run tell cheaply which tokens the likeliest may be."""

_UNSET_TOP_K = 50
"""What transformers' ``generate`` takes for a ``top_k`` that a model's configuration leaves unset."""

LEAST_LOGPROB = -9999.0
"""What OpenAI reports of a token that cannot come; JSON has no infinity."""

_DROPPED = -math.inf
_NOTHING = (
    "no token can be chosen: the model's logits hold NaN or infinity (a damaged checkpoint, or numbers too large for "
    "its dtype), or every token is suppressed; try dtype=float32"
)


@dataclass(frozen=True)
class Sampling:
    """How a worker chooses its tokens.

    Attributes:
        temperature: 0 takes the likeliest token; logits are divided by any other value.
        top_k: keep so many of the likeliest tokens, and those that tie with the last of them; 0 keeps all.
        top_p: keep the likeliest tokens that together hold this share of the probability, at least one; 1 keeps all.
        min_p: keep the tokens that have at least this share of the likeliest one's probability; 0 keeps all.
        repetition_penalty: above 1, tokens seen before become less likely; 1 is off.
        presence_penalty: taken off the logit of each token that the writer itself has written, from -2 to 2; 0 is off.
        frequency_penalty: the same, once for each time that it has written the token.
        stop: texts at which a worker is done.

    Raises:
        OptionError: a value is of a wrong type or out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (holds, fix) in _RULES.items():
            value = getattr(self, name)
            if not holds(value):
                raise OptionError(f"{name}={value!r} is not possible: give {fix}")

    @property
    def greedy(self) -> bool:
        """Whether always the likeliest token is taken."""
        return self.temperature == 0

    @property
    def counts(self) -> bool:
        """Whether it matters how often the writer has written each token."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0

    @classmethod
    def from_generation_config(cls, config: Any) -> Sampling:
        """What transformers' ``generate`` would do with a model's ``GenerationConfig``.

        A field that is None means there what it means to ``generate``: no ``do_sample`` is greedy, no ``top_k`` is 50.
        None in place of a configuration gives the defaults of this class.
        """
        if config is None:
            return cls()

        def setting(name: str, unset: Any) -> Any:
            value = getattr(config, name, None)
            return unset if value is None else value

        stop = setting("stop_strings", ())
        return cls(
            temperature=setting("temperature", 1.0) if setting("do_sample", False) else 0.0,
            top_k=setting("top_k", _UNSET_TOP_K),
            top_p=setting("top_p", 1.0),
            min_p=setting("min_p", 0.0),
            repetition_penalty=setting("repetition_penalty", 1.0),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    # Below 1e-6 the logits overflow float32, and 0 is meant anyway.
    "temperature": (
        lambda value: _is_number(value) and (value == 0 or 1e-6 <= value < math.inf),
        "0 (always the likeliest token) or a number from 1e-6 up",
    ),
    "top_k": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "a whole number from 1 up, or 0 for off",
    ),
    "top_p": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1 (1 is off)"),
    "min_p": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1 (0 is off)"),
    "repetition_penalty": (lambda value: _is_number(value) and 0 < value < math.inf, "a number above 0 (1 is off)"),
    "presence_penalty": (lambda value: _is_number(value) and -2 <= value <= 2, "a number from -2 to 2 (0 is off)"),
    "frequency_penalty": (lambda value: _is_number(value) and -2 <= value <= 2, "a number from -2 to 2 (0 is off)"),
    "stop": (
        lambda value: isinstance(value, tuple) and all(text and isinstance(text, str) for text in value),
        "a tuple of texts, none of them empty",
    ),
}


def on_cpu(logits: Tensor) -> Tensor:
    """Logits ``[rows, V]`` where tokens are chosen: copied from a GPU at once, not row by row and step by step."""
    if logits.device.type != "cuda":
        return logits
    host = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)  # several times as fast as other memory
    host.copy_(logits, non_blocking=True)
    torch.cuda.current_stream(logits.device).synchronize()
    return host


def repetition_penalty(logits: Tensor, seen_ids: Tensor, penalty: float) -> Tensor:
    """Make tokens seen before less likely: divide their positive logits by ``penalty``, multiply their negative ones.

    ``logits`` is ``[V]``, ``seen_ids`` int64 ``[N]``: one named twice is penalised once, one of V or more ignored.
    """
    seen = seen_ids[seen_ids < logits.shape[0]]
    score = logits[seen]
    return logits.index_copy(0, seen, torch.where(score < 0, score * penalty, score / penalty))


def count_penalties(logits: Tensor, written_ids: Tensor, presence: float, frequency: float) -> Tensor:
    """Take ``presence`` off the logits of tokens that were written, and ``frequency`` for each time, as OpenAI does.

    ``logits`` is ``[V]``, ``written_ids`` int64 ``[N]``, each token as often as it was written; one of V or more is
    ignored.
    """
    counts = torch.bincount(written_ids[written_ids < logits.shape[0]], minlength=logits.shape[0])  # [V]
    return logits - frequency * counts - presence * (counts > 0)


def suppress(logits: Tensor, ids: Tensor) -> Tensor:
    """Drop the tokens ``ids`` (int64 ``[N]``; an id of V or more is ignored) from ``logits`` ``[V]``."""
    return logits.index_fill(0, ids[ids < logits.shape[0]], _DROPPED)


def temperature(logits: Tensor, value: float) -> Tensor:
    """Divide ``logits`` ``[V]`` by ``value``, which is above 0: below 1 sharpens, above 1 flattens."""
    return logits / value


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the ``k`` (from 1) largest of ``logits`` ``[V]``, and all that tie with the last of them."""
    return logits.masked_fill(logits < _kth_largest(logits, k), _DROPPED)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Drop the least likely of ``logits`` ``[V]`` that together hold at most ``1 - p``; the likeliest always stays.

    Of equal logits at the border, those with the lower ids are dropped first.
    """
    kept = _top_p_ids(logits, p)
    return torch.full_like(logits, _DROPPED).index_copy_(0, kept, logits[kept])


def min_p(logits: Tensor, p: float) -> Tensor:
    """Drop the tokens of ``logits`` ``[V]`` that have less than ``p`` times the likeliest one's probability."""
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.max(), _DROPPED)


def pick(probs: Tensor, u: float) -> int:
    """The token at ``u`` of the cumulative distribution: the first whose running sum exceeds ``u`` of the whole.

    ``probs`` is float ``[V]``, and need not sum to 1; ``u`` is from 0 up, below 1. What has no probability is never
    picked. The sum is in float64 on the CPU, so that every device picks the same token from the same probabilities.

    Raises:
        BrokenLogits: no token has a probability, or one is NaN or infinite.
    """
    running = probs.cpu().double().cumsum(-1)  # [V]
    total = float(running[-1]) if running.shape[0] else 0.0
    if not 0 < total < math.inf:
        raise BrokenLogits(_NOTHING)
    # u * total may round up to total, where no token is left.
    target = min(u * total, math.nextafter(total, 0.0))
    return int(torch.searchsorted(running, target, right=True))


def sample(
    logits: Tensor,
    sampling: Sampling,
    u: float,
    seen: Tensor | None = None,
    suppressed: Tensor | None = None,
    written: Tensor | None = None,
    allowed: Tensor | None = None,
) -> int:
    """Choose one token, as transformers' logits processors and warpers would.

    Args:
        logits: float32 ``[V]``, left as it is.
        sampling: how to choose.
        u: one uniform number from 0 up, below 1 (see :func:`uniform`); not used when greedy.
        seen: int64 ``[N]``, what the repetition penalty counts as seen before.
        suppressed: int64 ``[N]``, tokens that must not be chosen.
        written: int64 ``[N]``, what the writer has written, for the presence and frequency penalties.
        allowed: bool ``[V]``, the only tokens that may be chosen, as a grammar says.

    Raises:
        BrokenLogits: no token can be chosen: the logits hold NaN, or every token is suppressed.
    """
    penalised = (seen is not None and sampling.repetition_penalty != 1) or (written is not None and sampling.counts)
    if sampling.greedy and not penalised and (token := _likeliest(logits, suppressed, allowed)) is not None:
        return token
    if seen is not None and sampling.repetition_penalty != 1:
        logits = repetition_penalty(logits, seen, sampling.repetition_penalty)
    if written is not None and sampling.counts:
        logits = count_penalties(logits, written, sampling.presence_penalty, sampling.frequency_penalty)
    if suppressed is not None:
        logits = suppress(logits, suppressed)
    if allowed is not None:
        logits = logits.masked_fill(~allowed, _DROPPED)
    if sampling.greedy:
        largest = logits.max()
        if not math.isfinite(largest):
            raise BrokenLogits(_NOTHING)
        return int(_at_least(logits, largest)[0])
    logits = temperature(logits, sampling.temperature)
    # What is dropped is not looked at again; the kept tokens stay in the order of their ids.
    ids = None
    if 0 < sampling.top_k < logits.shape[0]:
        ids = _at_least(logits, _kth_largest(logits, sampling.top_k))  # [K]
        logits = logits[ids]
    if sampling.top_p < 1:
        kept = _top_p_ids(logits, sampling.top_p)
        ids, logits = kept if ids is None else ids[kept], logits[kept]
    if sampling.min_p > 0:
        logits = min_p(logits, sampling.min_p)
    index = pick(logits.softmax(-1), u)
    return index if ids is None else int(ids[index])


def _likeliest(logits: Tensor, suppressed: Tensor | None, allowed: Tensor | None) -> int | None:
    """The likeliest of all tokens, if it may be chosen: mostly it may, and then the logits need not be copied.

    Of equal ones the one with the lowest id, which NumPy gives and PyTorch does not promise.
    """
    token = int(logits.numpy(force=True).argmax())
    if not math.isfinite(logits[token]) or (allowed is not None and not allowed[token]):
        return None
    return None if suppressed is not None and bool((suppressed == token).any()) else token


def logprob(logits: Tensor, token: int, top: int) -> tuple[float, list[tuple[int, float]]]:
    """The log-probability of ``token``, and the ``top`` likeliest tokens with theirs, the likeliest first.

    It is the model's own distribution, the softmax of ``logits`` ``[V]`` as they are: before temperature, penalties and
    masks, which is what OpenAI-compatible servers report (vLLM's ``raw_logprobs``). Natural logarithms, none below
    `LEAST_LOGPROB`.
    """
    normal = logits.float() - logits.float().logsumexp(-1)  # [V]
    values, ids = normal.clamp(min=LEAST_LOGPROB).topk(min(top, normal.shape[0]))
    return max(float(normal[token]), LEAST_LOGPROB), list(zip(ids.tolist(), values.tolist(), strict=True))


def uniform(seed: int, worker: int, index: int) -> float:
    """The random number, from 0 up and below 1, of a worker's token ``index`` in the run ``seed``.

    It depends on these three alone: not on other workers, other teams, the platform, or what was drawn before.
    """
    digest = hashlib.blake2b(f"{seed}/{worker}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _kth_largest(logits: Tensor, k: int) -> Tensor:
    """The ``k``-th largest of ``logits`` ``[V]``, or the least when there are fewer."""
    runs = logits.shape[0] // RUN
    if k < runs // 4:
        # At least k of them are no smaller than the k-th largest of the runs' largest.
        bound = logits[: runs * RUN].view(runs, RUN).amax(-1).topk(k).values[-1]
        logits = logits[_at_least(logits, bound)]
    return logits.topk(min(k, logits.shape[0])).values[-1]


def _at_least(logits: Tensor, least: Tensor) -> Tensor:
    """The ids, in order, of those of ``logits`` ``[V]`` that are no less than ``least``; quick where they are few."""
    runs = logits.shape[0] // RUN
    whole, rest = logits[: runs * RUN].view(runs, RUN), logits[runs * RUN :]
    some = (whole.amax(-1) >= least).nonzero().squeeze(-1)  # the runs that have any
    run, place = (whole[some] >= least).nonzero().unbind(-1)
    behind = (rest >= least).nonzero().squeeze(-1)
    return torch.cat([some[run] * RUN + place, behind + runs * RUN])


def _top_p_ids(logits: Tensor, p: float) -> Tensor:
    """Which of ``logits`` ``[V]`` `top_p` keeps, in order."""
    if logits.shape[0] > RUN:
        largest = logits.max()
        for depth in HEADS:
            if (kept := _top_p_by_head(logits, p, largest - depth)) is not None:
                return kept
    ascending, order = logits.sort()  # [V], [V]
    mass = ascending.softmax(-1).cumsum(-1)
    return _without(order, order[:-1][mass[:-1] <= 1 - p])


def _top_p_by_head(logits: Tensor, p: float, least: Tensor) -> Tensor | None:
    """`_top_p_ids` from the logits that are no less than ``least``; None when they hold less than ``p``."""
    rest = logits.masked_fill(logits >= least, _DROPPED).logsumexp(-1, keepdim=True)  # all others, as one token
    head = _at_least(logits, least)  # [H]
    ascending, order = logits[head].sort()
    mass = torch.cat([rest, ascending]).softmax(-1).cumsum(-1)  # [1 + H]
    if not mass[0] <= 1 - p:
        return None
    return head[_without(order, order[:-1][mass[1:-1] <= 1 - p])]


def _without(all_of: Tensor, dropped: Tensor) -> Tensor:
    """0 to N, where ``all_of`` ``[N]`` has them in any order, but for ``dropped``; in order."""
    keep = torch.ones_like(all_of, dtype=torch.bool)
    keep[dropped] = False
    return keep.nonzero().squeeze(-1)
