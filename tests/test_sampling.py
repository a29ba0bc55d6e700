"""Each function equals transformers' warper of the same name; picking is unbiased; seeds give the same tokens."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hogwild import sampling
from hogwild.errors import HogwildError, OptionError
from hogwild.sampling import Sampling, pick, sample, uniform

# Many small whole numbers, for ties; the others are anything that a model may give.
logit = st.one_of(st.integers(-3, 3).map(float), st.floats(-30, 30, width=32))
vectors = st.lists(logit, min_size=1, max_size=12).map(torch.tensor)
shares = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99]), st.floats(0, 0.999))


def warp(warper: Callable[[Any, Any], Any], logits: Tensor, seen: Tensor | None = None) -> Tensor:
    """What a transformers warper makes of one row."""
    ids = torch.zeros(1, 0, dtype=torch.long) if seen is None else seen[None]
    result: Tensor = warper(ids, logits.clone()[None])[0]
    return result


@given(vectors, st.floats(1e-3, 10))
def test_temperature_equals_transformers(logits: Tensor, value: float) -> None:
    assert torch.equal(sampling.temperature(logits, value), warp(TemperatureLogitsWarper(value), logits))


@given(vectors, st.integers(1, 15))
def test_top_k_equals_transformers(logits: Tensor, k: int) -> None:
    assert torch.equal(sampling.top_k(logits, k), warp(TopKLogitsWarper(k), logits))


@given(vectors, shares)
def test_top_p_equals_transformers(logits: Tensor, p: float) -> None:
    assert torch.equal(sampling.top_p(logits, p), warp(TopPLogitsWarper(p), logits))


@given(vectors, shares)
def test_min_p_equals_transformers(logits: Tensor, p: float) -> None:
    assert torch.equal(sampling.min_p(logits, p), warp(MinPLogitsWarper(p), logits))


@given(vectors, st.lists(st.integers(0, 14), max_size=8), st.floats(0.25, 4))
def test_repetition_penalty_equals_transformers(logits: Tensor, seen: list[int], penalty: float) -> None:
    ids = torch.tensor(seen, dtype=torch.long)
    want = warp(RepetitionPenaltyLogitsProcessor(penalty), logits, ids)
    assert torch.equal(sampling.repetition_penalty(logits, ids, penalty), want)


@given(vectors, st.lists(st.integers(0, 14), max_size=8), st.floats(-2, 2), st.floats(-2, 2))
def test_count_penalties_are_what_openai_defines(
    logits: Tensor, written: list[int], presence: float, frequency: float
) -> None:
    got = sampling.count_penalties(logits, torch.tensor(written, dtype=torch.long), presence, frequency)
    want = [
        logit - written.count(token) * frequency - (token in written) * presence
        for token, logit in enumerate(logits.tolist())
    ]
    assert got.tolist() == pytest.approx(want, abs=1e-4)


def test_penalties_and_a_grammar_decide_together() -> None:
    logits = torch.tensor([1.0, 3.0, 2.5, 2.0])
    greedy = Sampling(temperature=0, presence_penalty=0.4, frequency_penalty=0.4)
    assert greedy.counts
    assert not Sampling().counts
    assert sample(logits, greedy, 0.5) == 1
    assert sample(logits, greedy, 0.5, written=torch.tensor([1])) == 2
    assert sample(logits, greedy, 0.5, written=torch.tensor([1, 2, 2])) == 1 + (3.0 - 0.8 < 2.0)
    allowed = torch.tensor([True, False, False, True])
    assert sample(logits, greedy, 0.5, written=torch.tensor([1]), allowed=allowed) == 3
    assert {sample(logits, Sampling(), u / 50, allowed=allowed) for u in range(50)} == {0, 3}
    with pytest.raises(HogwildError, match="no token can be chosen"):
        sample(logits, Sampling(), 0.5, allowed=torch.zeros(4, dtype=torch.bool))


def test_logprobs_are_of_the_distribution_as_the_model_gives_it() -> None:
    logits = torch.randn(300, generator=torch.Generator().manual_seed(3))
    want = logits.log_softmax(-1)
    value, top = sampling.logprob(logits, 17, 3)
    assert value == pytest.approx(float(want[17]), abs=1e-5)
    assert [token for token, _ in top] == want.argsort(descending=True)[:3].tolist()
    assert [one for _, one in top] == pytest.approx(want.topk(3).values.tolist(), abs=1e-5)
    assert sampling.logprob(logits, 17, 0)[1] == []
    assert len(sampling.logprob(logits[:5], 2, 20)[1]) == 5


@given(vectors, st.lists(st.integers(0, 14), min_size=1, max_size=8))
def test_suppress_equals_transformers(logits: Tensor, ids: list[int]) -> None:
    want = warp(SuppressTokensLogitsProcessor(ids), logits)
    assert torch.equal(sampling.suppress(logits, torch.tensor(ids)), want)


@settings(max_examples=300)
@given(
    st.lists(logit, min_size=4, max_size=12).map(torch.tensor),
    st.lists(st.integers(0, 11), max_size=6),
    st.lists(st.integers(0, 11), max_size=3),
    st.builds(
        Sampling,
        temperature=st.floats(0.1, 3),
        top_k=st.integers(0, 14),
        top_p=st.one_of(st.just(1.0), shares),
        min_p=st.one_of(st.just(0.0), shares),
        repetition_penalty=st.floats(0.5, 2),
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_sample_is_a_pick_from_what_transformers_leaves(
    logits: Tensor, seen: list[int], suppressed: list[int], how: Sampling, u: float
) -> None:
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(float(how.repetition_penalty))])
    if suppressed:
        processors.append(SuppressTokensLogitsProcessor(suppressed))
    processors.append(TemperatureLogitsWarper(float(how.temperature)))
    if how.top_k:
        processors.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        processors.append(TopPLogitsWarper(how.top_p))
    processors.append(MinPLogitsWarper(how.min_p))
    before = logits.clone()
    token = sample(logits, how, u, torch.tensor(seen, dtype=torch.long), torch.tensor(suppressed, dtype=torch.long))
    assert torch.equal(logits, before)

    probs = warp(processors, logits, torch.tensor(seen, dtype=torch.long)).double().softmax(-1)
    # Softmax over the kept tokens alone may round otherwise than over all: u may fall on the other side of a border.
    assert float(probs[:token].sum()) - 1e-5 <= u <= float(probs[: token + 1].sum()) + 1e-5


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.999])
def test_top_p_of_a_large_vocabulary_equals_transformers(spread: float, p: float) -> None:
    logits = spread * torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    got, want = sampling.top_p(logits, p), warp(TopPLogitsWarper(p), logits)
    kept, wanted = got.isfinite(), want.isfinite()
    # Both sum in float32, in another order: tokens right at the border may differ, and hold next to nothing.
    assert float(logits.softmax(-1)[kept != wanted].sum()) < 1e-4
    assert torch.equal(got[kept & wanted], logits[kept & wanted])


@pytest.mark.parametrize("k", [1, 20, 300, 4999, 9000])
@pytest.mark.parametrize("ties", [False, True])
def test_top_k_of_a_large_vocabulary_equals_transformers(k: int, ties: bool) -> None:
    logits = torch.randn(5003, generator=torch.Generator().manual_seed(k)) * 4
    logits = logits.round() if ties else logits
    logits[::7] = -torch.inf
    kept = warp(TopKLogitsWarper(k), logits)
    assert torch.equal(sampling.top_k(logits, k), kept)
    for u in (0.0, 0.3, 0.99):
        assert sampling.sample(logits, Sampling(top_k=k), u) == sampling.pick(kept.softmax(-1), u)


def test_of_equal_logits_the_lowest_id_is_the_likeliest() -> None:
    logits = torch.zeros(1000)
    logits[[990, 500, 70]] = 3.0
    assert sampling.sample(logits, Sampling(temperature=0.0), 0.5) == 70
    logits[70] = 2.0
    assert sampling.sample(logits, Sampling(temperature=0.0), 0.5) == 500


def test_top_p_of_a_large_vocabulary_with_ties_and_dropped_tokens() -> None:
    logits = torch.full((5000,), -math.inf)
    logits[[7, 4000]] = torch.tensor([1.0, 1.0])
    assert sampling.top_p(logits, 0.4).isfinite().nonzero().flatten().tolist() == [4000]
    assert sampling.top_p(logits, 0.6).isfinite().nonzero().flatten().tolist() == [7, 4000]
    assert torch.equal(sampling.top_p(torch.zeros(5000), 0.5), warp(TopPLogitsWarper(0.5), torch.zeros(5000)))


def test_greedy_takes_the_likeliest_after_penalty_and_suppression() -> None:
    logits = torch.tensor([1.0, 3.0, 2.9, 2.0])
    greedy = Sampling(temperature=0, repetition_penalty=2.0, top_k=1)
    assert greedy.greedy
    assert sample(logits, greedy, 0.99) == 1
    assert sample(logits, greedy, 0.99, seen=torch.tensor([1])) == 2
    assert sample(logits, greedy, 0.99, seen=torch.tensor([1]), suppressed=torch.tensor([2])) == 3
    assert sample(logits, greedy, 0.99, suppressed=torch.tensor([1])) == 2
    assert sample(logits, greedy, 0.99, allowed=torch.tensor([True, False, False, True])) == 3
    assert (
        sample(logits, greedy, 0.99, suppressed=torch.tensor([0]), allowed=torch.tensor([False, True, True, True])) == 1
    )


def test_picks_follow_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.0, 0.3, 0.2])
    draws = 20_000
    counts = torch.zeros(4)
    for index in range(draws):
        counts[pick(probs, uniform(0, 0, index))] += 1
    assert counts[1] == 0
    for count, prob in zip(counts.tolist(), probs.tolist(), strict=True):
        assert abs(count / draws - prob) < 4 * math.sqrt(prob * (1 - prob) / draws) + 1e-9


@given(
    st.lists(st.sampled_from([0.0, 1e-30, 0.1, 0.3, 1.0]), min_size=1, max_size=8).filter(any),
    st.one_of(st.sampled_from([0.0, 1 - 2**-53]), st.floats(0, 1, exclude_max=True)),
)
def test_pick_never_takes_what_has_no_probability(probs: list[float], u: float) -> None:
    assert probs[pick(torch.tensor(probs), u)] > 0


@pytest.mark.parametrize("how", [Sampling(), Sampling(temperature=0), Sampling(top_k=2), Sampling(top_p=0.5)])
@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_logits_without_a_choice_are_an_error(how: Sampling, value: float) -> None:
    with pytest.raises(HogwildError, match="no token can be chosen"):
        sample(torch.full((5,), value), how, 0.5)


def test_uniform_depends_on_its_three_numbers_alone() -> None:
    # Written down once: another platform or version must give the same runs.
    assert uniform(0, 0, 0) == uniform(0, 0, 0)
    assert [round(uniform(1, 2, index), 12) for index in range(3)] == [0.355329909047, 0.643889334058, 0.510075607062]
    values = {uniform(seed, worker, index) for seed in (0, 1, -1, 10**30) for worker in range(4) for index in range(50)}
    assert len(values) == 4 * 4 * 50
    assert all(0 <= value < 1 for value in values)
    assert uniform(1, 11, 1) != uniform(11, 1, 1)


def test_the_same_seed_gives_the_same_tokens() -> None:
    logits = torch.randn(500, generator=torch.Generator().manual_seed(0))
    how = Sampling(temperature=0.8, top_k=40, top_p=0.9)

    def run(seed: int) -> list[int]:
        return [sample(logits, how, uniform(seed, 0, index)) for index in range(30)]

    first = run(5)
    torch.manual_seed(123)  # the global generator plays no part
    assert run(5) == first
    assert run(6) != first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 1e-9),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "0.7"),
        ("temperature", None),
        ("top_k", -1),
        ("top_k", 2.0),
        ("top_k", True),
        ("top_p", 1.01),
        ("top_p", -0.1),
        ("top_p", math.nan),
        ("min_p", 2),
        ("min_p", [0.1]),
        ("repetition_penalty", 0),
        ("repetition_penalty", math.inf),
        ("stop", "end"),
        ("stop", ("end", "")),
        ("stop", ["end"]),
        ("stop", (1,)),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(field: str, value: Any) -> None:
    with pytest.raises(OptionError) as error:
        Sampling(**{field: value})
    message = str(error.value)
    assert message.startswith(f"{field}={value!r} ")
    assert ": give " in message
    assert "\n" not in message


def test_sampling_is_a_value() -> None:
    how = Sampling(stop=("a",))
    assert how == Sampling(stop=("a",))
    assert hash(how) == hash(Sampling(stop=("a",)))
    assert dataclasses.replace(how, top_k=3).top_k == 3
    with pytest.raises(OptionError, match="top_k"):
        dataclasses.replace(how, top_k=-3)


def test_a_generation_config_means_what_it_means_to_generate() -> None:
    assert Sampling.from_generation_config(None) == Sampling()
    assert Sampling.from_generation_config(GenerationConfig()) == Sampling(temperature=0.0, top_k=50)
    greedy = Sampling.from_generation_config(GenerationConfig(do_sample=False, temperature=None))
    assert greedy.greedy
    assert Sampling.from_generation_config(
        GenerationConfig(do_sample=True, temperature=0.6, top_k=20, top_p=0.95, repetition_penalty=1.1)
    ) == Sampling(temperature=0.6, top_k=20, top_p=0.95, repetition_penalty=1.1)
    assert Sampling.from_generation_config(GenerationConfig(do_sample=True, top_k=0, min_p=0.1, stop_strings="x")) == (
        Sampling(top_k=0, min_p=0.1, stop=("x",))
    )


def test_unset_fields_are_those_of_transformers() -> None:
    unset = GenerationConfig._get_default_generation_params()
    assert not unset["do_sample"]
    assert (unset["temperature"], unset["top_k"], unset["top_p"]) == (1.0, sampling._UNSET_TOP_K, 1.0)
    assert unset.get("repetition_penalty", 1.0) == 1.0
