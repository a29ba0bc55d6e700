"""What a model writes by itself before it is trained: learnt together with the rest, so that it is not forgotten.

A model that forgets nothing goes on as it would have gone on. So what is learnt from these traces is not the token
that was written but how likely each was to the untrained model, which is there while an adapter is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from hogwild import Engine, Team
from hogwild.engine import Row
from hogwild.schedule import run_together
from hogwild.team.events import Event
from hogwild.train.measure import GREEDY, TOGETHER
from hogwild.train.parts import words
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.replays import replay
from hogwild.train.tasks import OwnMix
from hogwild.train.trace import NO_LABEL, Fed, Trace

OWN = "own"
"""In `Trace.info` of what the model has written by itself."""

TEXTS_TOGETHER = 16
"""Texts that are sampled in the same passes."""


def own_words(engine: Engine, mix: OwnMix, rehearsal: Rehearsal, seed: int) -> list[Trace]:
    """Answers to ordinary questions, and texts about anything."""
    return own_answers(engine, mix.passes, rehearsal) + [
        trace
        for first in range(0, mix.texts, TEXTS_TOGETHER)
        for trace in own_texts(engine, min(TEXTS_TOGETHER, mix.texts - first), mix.length, seed + first)
    ]


def own_answers(engine: Engine, passes: int, rehearsal: Rehearsal) -> list[Trace]:
    """The model's greedy answers to ordinary questions, of at most so many tokens each, as traces of one worker."""
    questions: Sequence[str] = words()["ordinary"]["train"]
    runs: list[list[Event]] = [[] for _ in questions]
    teams = [Team(engine, question, 1, budget=passes, sampling=GREEDY) for question in questions]
    for first in range(0, len(teams), TOGETHER):
        some = slice(first, first + TOGETHER)
        run_together(engine, teams[some], [run.append for run in runs[some]])
    traces = [replay(run, rehearsal, question) for question, run in zip(questions, runs, strict=True)]
    return [replace(trace, info={**trace.info, OWN: True}) for trace in traces]


def own_texts(engine: Engine, count: int, length: int, seed: int) -> list[Trace]:
    """So many texts of ``length`` tokens, sampled from the model as it is, each behind a first token of chance."""
    dice = torch.Generator().manual_seed(seed)
    texts = torch.randint(engine.vocab_size, (count, 1), generator=dice)
    blocks = [engine.block() for _ in range(count)]
    try:
        for _ in range(length - 1):
            rows = [Row([block], text[-1:]) for block, text in zip(blocks, texts.tolist(), strict=True)]
            likely = engine.forward(rows).softmax(-1).cpu()
            texts = torch.cat([texts, torch.multinomial(likely, 1, generator=dice)], 1)
    finally:
        for block in blocks:
            block.free()
    return [_as_trace(text) for text in texts.tolist()]


def _as_trace(text: Sequence[int]) -> Trace:
    """A text that was fed in one pass, with nothing before it."""
    count = len(text)
    labels = (*text[1:], NO_LABEL)
    return Trace(tuple(text), labels, (count,), (Fed(0, 0, count, 1, ((0, count),)),), {OWN: True})
