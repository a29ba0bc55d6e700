"""Both laws on a real model: SmolLM2-135M-Instruct in float32, from the Python package index."""

from __future__ import annotations

import gc

import psutil
import pytest
import torch

from hogwild.engine import Engine, Row
from hogwild.engine.selftest import largest_difference, plain_logits
from tiny import both

pytestmark = pytest.mark.model

MODEL = "smollm2-135m-instruct"
TOKENS = 200
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def smollm2() -> Engine:
    return Engine.load(MODEL, dtype="float32", kv_memory=256 << 20)


@pytest.fixture(scope="module")
def prompt(smollm2: Engine) -> list[int]:
    question = [{"role": "user", "content": "Tell me how a bicycle stays upright, in plain words."}]
    assert smollm2.tokenizer is not None
    ids: list[int] = smollm2.tokenizer.apply_chat_template(question, add_generation_prompt=True)["input_ids"]
    return ids


@pytest.fixture(scope="module")
def generated(smollm2: Engine, prompt: list[int]) -> list[int]:
    """What transformers' own generate writes, greedily."""
    model = smollm2.model
    model.set_attn_implementation("sdpa")
    try:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
            )
    finally:
        model.set_attn_implementation("hogwild")
    tokens: list[int] = out[0, len(prompt) :].tolist()
    assert len(tokens) == TOKENS
    return tokens


def pick(engine: Engine, logits: torch.Tensor) -> int:
    """The most likely token but the end of the turn; ``logits`` [vocab]."""
    assert engine.tokenizer is not None
    allowed = logits.clone()
    allowed[engine.tokenizer.eos_token_id] = -torch.inf
    return int(allowed.argmax())


def test_the_self_test(smollm2: Engine) -> None:
    assert smollm2.report is not None
    assert smollm2.report.difference < 1e-5


def test_one_worker_writes_what_transformers_writes(smollm2: Engine, prompt: list[int], generated: list[int]) -> None:
    block = smollm2.block()
    written = [pick(smollm2, smollm2.prefill([block], prompt))]
    while len(written) < TOKENS:
        written.append(pick(smollm2, smollm2.forward([Row([block], written[-1:])])[0]))
    assert written == generated


def test_so_does_one_over_three_blocks_and_one_whose_steps_move(
    smollm2: Engine, prompt: list[int], generated: list[int]
) -> None:
    """Two workers that do not see each other; the steps of one, of 40 tokens, move to its history."""
    first, second, own, history, step = (smollm2.block() for _ in range(5))
    smollm2.prefill([first], prompt[:11])
    smollm2.prefill([first, second], prompt[11:-3])
    views = [[first, second, own], [history, step]]
    written: list[list[int]] = [
        [pick(smollm2, smollm2.prefill(views[0], prompt[-3:]))],
        [pick(smollm2, smollm2.prefill([history], prompt))],
    ]
    while len(written[0]) < TOKENS:
        rows = [Row(view, tokens[-1:]) for view, tokens in zip(views, written, strict=True)]
        for tokens, logits in zip(written, smollm2.forward(rows), strict=True):
            tokens.append(pick(smollm2, logits))
        if len(step) == 40:
            history.extend(step)
            step.truncate(0)
    assert written == [generated, generated]
    assert len(history) == len(prompt) + 160


def test_workers_against_the_reference(smollm2: Engine, prompt: list[int]) -> None:
    """Three workers on ordinary text: ragged rows, steps that move, other orders of reading."""
    common, a, b, c = (smollm2.block() for _ in range(4))
    smollm2.prefill([common], prompt)
    views = [[common, b, c, a], [common, c, a, b], [b, common, c]]
    worst = 0.0
    for turn, counts in enumerate([(9, 4, 6), (1, 1, 1), (1, 3, 1), (1, 1, 1)]):
        news = [prompt[turn : turn + count] for count in counts]
        ours, theirs = both(smollm2, [Row(view, new) for view, new in zip(views, news, strict=True)])
        worst = max(worst, largest_difference(ours, theirs))
        if turn == 1:
            common.extend(c)
            c.truncate(0)
    assert worst <= TOLERANCE


def test_a_long_context_is_exact(smollm2: Engine, prompt: list[int]) -> None:
    """Angles are right far from 0 too: 1500 tokens in three blocks against one forward."""
    tokens = (prompt * (1500 // len(prompt) + 1))[:1500]
    first, second, own = (smollm2.block() for _ in range(3))
    smollm2.prefill([first], tokens[:800])
    smollm2.prefill([first, second], tokens[800:1400])
    ours = smollm2.prefill([first, second, own], tokens[1400:])
    with torch.inference_mode():
        theirs = plain_logits(smollm2, tokens, "sdpa")[-1]
    assert largest_difference(ours, theirs) <= TOLERANCE


def test_eight_workers_stay_within_their_memory(smollm2: Engine, prompt: list[int]) -> None:
    """Nothing grows with the number of passes but the pages in use, which the pool bounds."""
    common, owns = smollm2.block(), [smollm2.block() for _ in range(8)]
    smollm2.prefill([common], prompt)
    tokens = [1] * 8

    def step() -> None:
        rows = [Row([common, *owns[:n], *owns[n + 1 :], owns[n]], [tokens[n]]) for n in range(8)]
        tokens[:] = smollm2.forward(rows).argmax(-1).tolist()

    for _ in range(30):
        step()
    process = psutil.Process()
    gc.collect()
    before, pages = process.memory_info().rss, smollm2.pool.used_pages
    for _ in range(60):
        step()
    gc.collect()
    assert [len(own) for own in owns] == [90] * 8
    assert smollm2.pool.used_pages == pages + 8  # 64 tokens a page
    page = smollm2.pool.bytes // smollm2.pool.total_pages
    assert process.memory_info().rss - before < 8 * page + (64 << 20)
