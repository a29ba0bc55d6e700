"""Training a model on traces of teams: steps of several traces, measured now and then, resumed where it was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hogwild.engine import Engine
from hogwild.errors import BrokenLogits, OptionError
from hogwild.models.load import load_model
from hogwild.models.packaged import Progress
from hogwild.train.checkpoint import checkpoints, load_checkpoint, read_state, save_checkpoint
from hogwild.train.feed import Feed
from hogwild.train.forward import pack, trace_logits, trace_loss
from hogwild.train.lora import Trained
from hogwild.train.measure import compare
from hogwild.train.own import OWN, own_words
from hogwild.train.tasks import RULES, draw_case
from hogwild.train.trace import Trace, load_traces, save_traces

TEAM = {"prompt": "short", **RULES}
"""How teams of trained models are set up, unless somebody asks for another way."""

COOL = 0.3
"""The last part of a run, in which the learning rate falls to `LEAST` of what it was."""

LEAST = 0.05

EVAL_MEMORY = 2 << 30
"""Bytes for keys and values of the teams that are measured: training itself keeps none."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. All of it is JSON.

    Attributes:
        model: as `Engine.load` takes it.
        data: a mix (``.toml``), traces (``.jsonl``), or None for the packaged mix.
        lora_rank: of the adapter; 0 trains all weights.
        lora_alpha: the adapter's scale times its rank.
        rate: the highest learning rate.
        batch: traces a step.
        pack_tokens: the most tokens of a forward, but for a trace that is longer alone: a step takes several.
        steps, minutes: when it ends; one of them is given. With ``steps`` a run is repeatable.
        warm_up: steps in which the learning rate rises.
        clip: the longest gradient.
        seed: of traces and first weights.
        device: where it runs.
        dtype: ``bfloat16`` (autocast; an adapter's base is kept in it) or ``float32``.
        eval_every: steps between two measurements, 0 for none; ``eval_tasks`` of them, for ``eval_workers``.
        save_every: steps between two checkpoints.
    """

    model: str
    data: str | None = None
    lora_rank: int = 8
    lora_alpha: int = 16
    rate: float = 1e-3
    batch: int = 8
    pack_tokens: int = 1024
    steps: int | None = None
    minutes: float | None = None
    warm_up: int = 10
    clip: float = 1.0
    seed: int = 0
    device: str = "cpu"
    dtype: str = "bfloat16"
    eval_every: int = 50
    eval_tasks: int = 8
    eval_workers: int = 2
    save_every: int = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise OptionError("training needs an end: give either --steps or --minutes")
        if self.dtype not in ("bfloat16", "float32"):
            raise OptionError(f"dtype is {self.dtype!r}: give bfloat16 or float32")
        for name in ("batch", "pack_tokens", "warm_up", "save_every", "eval_tasks", "eval_workers"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("lora_rank", "eval_every", "seed"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is {getattr(self, name)}: give 0 or more")
        if any(end is not None and end <= 0 for end in (self.steps, self.minutes)) or min(self.rate, self.clip) <= 0:
            raise OptionError("steps, minutes, rate and clip are all above 0")

    @property
    def same(self) -> dict[str, Any]:
        """What may not change when a run goes on."""
        free = {"steps", "minutes", "eval_every", "eval_tasks", "eval_workers", "save_every", "device", "pack_tokens"}
        return {key: value for key, value in asdict(self).items() if key not in free}


class Trainer:
    """One run of training, in the folder ``out``. It goes on from the newest checkpoint there, if there is one.

    Attributes: ``step``, how many are done; ``seconds``, how long they took; ``trained``; ``engine`` on the very model
    that is trained.
    """

    def __init__(self, recipe: Recipe, out: Path, progress: Progress | None = None) -> None:
        self.recipe, self.out = recipe, out
        self.step, self.seconds = 0, 0.0
        found = checkpoints(out)
        state = read_state(found[-1]) if found else None
        if state is not None and state["recipe"] != recipe.same:
            raise OptionError(f"{out} holds a run with other settings: choose another --out, or remove it")
        half = recipe.dtype == "bfloat16" and recipe.lora_rank > 0
        dtype = torch.bfloat16 if half else torch.float32
        loaded = load_model(recipe.model, device=recipe.device, dtype=dtype, progress=progress)
        self.engine = Engine(loaded, EVAL_MEMORY)
        self.trained = Trained(self.engine.model, recipe.lora_rank, recipe.lora_alpha, recipe.seed, loaded.name)
        self.optimizer = torch.optim.AdamW(self.trained.parameters.values(), lr=recipe.rate, weight_decay=0.0)
        assert self.engine.tokenizer is not None, "load_model brings one"
        self.feed = Feed(
            Path(recipe.data) if recipe.data else None,
            recipe.seed,
            self.engine.tokenizer,
            self.engine.vocab_size,
            self.engine.generation_config,
            self.engine.max_positions,
        )
        out.mkdir(parents=True, exist_ok=True)
        self.feed.own = self._own_words()  # before anything is learnt, and kept for a run that goes on
        if state is not None:
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            load_checkpoint(found[-1], self.trained.parameters, self.optimizer, self.step)
        self._cut_log()

    def _own_words(self) -> Sequence[Trace]:
        path, own = self.out / "own.jsonl", self.feed.mix.own
        if own is None:
            return ()
        if not path.exists():
            new = path.with_suffix(".new")
            save_traces(new, own_words(self.engine, own, self.feed.rehearsal, self.recipe.seed))
            new.rename(path)
        return load_traces(path)

    @property
    def progress(self) -> float:
        """How far the run is, from 0 to 1."""
        if self.recipe.steps is not None:
            return min(1.0, self.step / self.recipe.steps)
        assert self.recipe.minutes is not None, "one of them is given"
        return min(1.0, self.seconds / 60 / self.recipe.minutes)

    @property
    def seconds_left(self) -> float:
        """By what it took so far; 0 before the first step."""
        return self.seconds / self.progress * (1 - self.progress) if self.progress else 0.0

    def run(self) -> Iterator[dict[str, Any]]:
        """Train to the end; what happens, as lines of the log: steps, and measurements."""
        recipe = self.recipe
        while self.progress < 1:
            yield self._log(self.train_step())
            if self.step % recipe.save_every == 0:
                self.save()
            if recipe.eval_every and (self.step % recipe.eval_every == 0 or self.progress == 1):
                yield self._log({"step": self.step, **self.evaluate()})
        self.save()

    def train_step(self) -> dict[str, Any]:
        """One step of the optimizer, on traces of its own. Raises `BrokenLogits` where the loss is no number."""
        began = time.monotonic()
        rate = self._rate()
        traces = [self.feed[self.step * self.recipe.batch + index] for index in range(self.recipe.batch)]
        drawn = time.monotonic() - began
        learnt, total = sum(trace.learnt for trace in traces), 0.0
        self.optimizer.zero_grad()
        for own in (False, True):
            for group in packs([trace for trace in traces if own == (OWN in trace.info)], self.recipe.pack_tokens):
                total += self._backward(group, learnt, own)
        if not total < float("inf"):
            raise BrokenLogits(f"the loss of step {self.step + 1} is no number: train with a smaller --rate", "")
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters.values(), self.recipe.clip)
        for group_ in self.optimizer.param_groups:
            group_["lr"] = rate
        self.optimizer.step()
        self.step += 1
        took = time.monotonic() - began
        self.seconds += took
        tokens = sum(len(trace.tokens) for trace in traces)
        return {
            "step": self.step,
            "loss": round(total, 5),
            "norm": round(float(norm), 3),
            "rate": rate,
            "tokens": tokens,
            "learnt": learnt,
            "seconds": round(took, 2),
            "drawing": round(drawn, 2),
        }

    def _backward(self, traces: Sequence[Trace], learnt: int, own: bool) -> float:
        """Add the gradients of some traces, all of the model's own or none; their part of the mean loss of a token."""
        half = self.recipe.dtype == "bfloat16"
        model, layers, teacher = self.engine.model, self.engine.pool.layers, None
        batch = pack(traces, self.engine.device)
        with torch.autocast(self.engine.device.type, torch.bfloat16, enabled=half), self.trained.halved(half):
            if own and self.trained.keeps_base:
                with self.trained.untrained():
                    teacher = trace_logits(model, layers, batch, batch.learnt)
            loss = trace_loss(model, layers, batch, teacher) / max(learnt, 1)
        loss.backward()
        return float(loss.detach())

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / self.recipe.warm_up)
        falling = min(1.0, max(LEAST, (1 - self.progress) / COOL))
        return self.recipe.rate * rising * falling

    def evaluate(self) -> dict[str, float]:
        """How teams of the model do new tasks, with words that it has never seen. The time does not count."""
        mix, workers = self.feed.mix, self.recipe.eval_workers
        tasks = [
            draw_case("plain", f"eval {index}", mix, kept=True, workers=workers, layout="combined")
            for index in range(self.recipe.eval_tasks)
        ]
        return compare(self.engine, tasks).as_dict()

    def save(self) -> None:
        """Write a checkpoint, and the adapter (or the model) as it is."""
        state = {"step": self.step, "seconds": self.seconds, "recipe": self.recipe.same}
        save_checkpoint(self.out, self.trained.parameters, self.optimizer, state)
        self.trained.save(self.out, TEAM, self.engine.tokenizer)

    def _log(self, line: dict[str, Any]) -> dict[str, Any]:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def _cut_log(self) -> None:
        """Drop what was logged after the checkpoint: it is done again."""
        path = self.out / "log.jsonl"
        if path.exists():
            kept = [line for line in read_log(path) if line["step"] <= self.step]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last one that was cut off is left out."""
    lines = list[dict[str, Any]]()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def packs(traces: Sequence[Trace], most: int) -> Iterator[list[Trace]]:
    """Traces in their order, in groups of at most so many tokens, or of one trace that is longer."""
    group, size = list[Trace](), 0
    for trace in traces:
        if group and size + len(trace.tokens) > most:
            yield group
            group, size = [], 0
        group.append(trace)
        size += len(trace.tokens)
    if group:
        yield group
