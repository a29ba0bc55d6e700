"""The traces that training sees, by number: the same seed gives the same ones, in whatever order they are asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from transformers import GenerationConfig, PreTrainedTokenizerBase

from hogwild.errors import InputError
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.replays import read_runs
from hogwild.train.simulate import simulate
from hogwild.train.tasks import Mix, draw_task, read_mix
from hogwild.train.trace import Trace, load_traces


class Feed:
    """Traces from a mix (``.toml``; None for the packaged one) or a file of traces (``.jsonl``).

    Attributes: ``mix``, which is the packaged one for a file of traces; ``own``, traces of what the model writes by
    itself, which whoever trains it puts there; ``rehearsal``, on which traces are made.
    """

    def __init__(
        self,
        data: Path | None,
        seed: int,
        tokenizer: PreTrainedTokenizerBase,
        vocab_size: int,
        generation_config: GenerationConfig,
        max_positions: int,
    ) -> None:
        self._seed = seed
        self.rehearsal = Rehearsal(tokenizer, vocab_size, generation_config, max_positions)
        self._fixed: Sequence[Trace] = ()
        self._runs: Sequence[Trace] = ()
        self.own: Sequence[Trace] = ()
        traces = data is not None and data.suffix == ".jsonl"
        self.mix: Mix = read_mix(None if traces else data)
        if data is not None and traces:
            self._fixed = load_traces(data)
            self.mix = self.mix.model_copy(update={"own": None})
            if not self._fixed:
                raise InputError(f"--data: {str(data)!r} holds no trace")
        elif self.mix.runs is not None:
            self._runs = list(read_runs(self.mix.runs, data.parent if data else Path(), self.rehearsal))

    def __getitem__(self, number: int) -> Trace:
        """Trace ``number``, from 0 on without an end."""
        dice = random.Random(f"{self._seed}/{number}")
        if self._fixed:
            return _shuffled(self._fixed, self._seed, number)
        if self.mix.runs is not None and dice.random() < self.mix.runs.share:
            return dice.choice(self._runs)
        if self.mix.own is not None and self.own and dice.random() < self.mix.own.share:
            return dice.choice(self.own)
        return simulate(draw_task(f"{self._seed}/{number}", self.mix), self.rehearsal)


def _shuffled(traces: Sequence[Trace], seed: int, number: int) -> Trace:
    """All of them in an order of chance, again and again in another."""
    turn, place = divmod(number, len(traces))
    order = list(range(len(traces)))
    random.Random(f"{seed}/{turn}").shuffle(order)
    return traces[order[place]]
