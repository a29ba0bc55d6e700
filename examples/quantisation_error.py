"""What quantised weights cost: perplexity on a text, and how often the likeliest token stays the same.

    python examples/quantisation_error.py --model M --text FILE [--formats none,int8,int4] [--gguf FILE] [--tokens 4096]

FILE is plain text, or .jsonl, of which each line's question (or problem) and solution are taken. Each window of 512
tokens is read alone, and all its tokens but the first are predicted. --gguf also measures llama.cpp on the same tokens,
through llama-cpp-python. The first format is what the others are compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hogwild.engine import Engine, Row

WINDOW = 512
GREEDY = 200
FIELDS = ("question", "problem", "solution")


@dataclass(frozen=True)
class Predictions:
    """Of each token that was predicted: its ``loss`` in nats, and the likeliest token in its place, ``top``."""

    loss: Tensor  # [T]
    top: Tensor  # [T]

    @classmethod
    def of(cls, logits: Tensor, tokens: Sequence[int]) -> Predictions:
        """From logits [T, vocab] after each of ``tokens``."""
        targets = torch.tensor(tokens[1:])
        return cls(torch.nn.functional.cross_entropy(logits[:-1], targets, reduction="none"), logits[:-1].argmax(-1))

    @classmethod
    def joined(cls, parts: Iterable[Predictions]) -> Predictions:
        """Those of several windows as one."""
        every = list(parts)
        return cls(torch.cat([part.loss for part in every]), torch.cat([part.top for part in every]))

    def row(self, name: str, base: Predictions, extra: str) -> str:
        """One row of the table."""
        apart = self.loss - base.loss
        spread = float(apart.std() / len(apart) ** 0.5) if base is not self else 0.0
        change = f"{100 * (float(apart.mean().exp()) - 1):+.2f} ± {100 * spread:.2f}%"
        same = float((self.top == base.top).float().mean())
        return f"| {name} | {float(self.loss.mean().exp()):.3f} | {change} | {same:.1%} | {extra} |"


def read_text(path: Path) -> str:
    """The text of a file; of .jsonl, the fields in `FIELDS`."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".jsonl":
        return text
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    return "\n\n".join(str(line[field]) for line in lines for field in FIELDS if field in line)


def ours(engine: Engine, windows: Sequence[list[int]]) -> Iterator[Predictions]:
    """Our predictions, window by window."""
    for window in windows:
        block = engine.block()
        yield Predictions.of(engine.forward([Row([block], window)], all_positions=True), window)
        block.free()


def theirs(path: str, windows: Sequence[list[int]]) -> Iterator[Predictions]:
    """The predictions of llama.cpp."""
    from llama_cpp import Llama

    model = Llama(path, n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False, n_threads=torch.get_num_threads())
    for window in windows:
        model.reset()
        model.eval(window)
        yield Predictions.of(torch.tensor(model.scores[: len(window)]), window)


def greedy(engine: Engine, prompt: list[int]) -> list[int]:
    """The likeliest continuation of ``prompt``, `GREEDY` tokens."""
    block, found = engine.block(), list[int]()
    token = int(engine.prefill([block], prompt).argmax())
    while len(found) < GREEDY:
        found.append(token)
        token = int(engine.forward([Row([block], [token])])[0].argmax())
    block.free()
    return found


def agreement(engine: Engine, prompt: list[int], wanted: list[int]) -> int:
    """How many tokens of the continuation ``wanted`` are this engine's choice too, each after all before it."""
    block = engine.block()
    logits = engine.forward([Row([block], prompt + wanted)], all_positions=True)
    block.free()
    return int((logits[len(prompt) - 1 : -1].argmax(-1) == torch.tensor(wanted)).sum())


def report(options: argparse.Namespace) -> Iterator[str]:
    """The table, line by line."""
    yield "| weights | perplexity | against the first | same likeliest token | its greedy tokens, load |"
    yield "| --- | --- | --- | --- | --- |"
    windows, base, wanted = list[list[int]](), None, list[int]()
    for form in options.formats.split(","):
        began = time.monotonic()
        engine = Engine.load(options.model, quantize=form, kv_memory=512 << 20)
        seconds = time.monotonic() - began
        if not windows:
            assert engine.tokenizer is not None
            tokens = engine.tokenizer(read_text(options.text), add_special_tokens=False)["input_ids"][: options.tokens]
            windows = [tokens[first : first + WINDOW] for first in range(0, len(tokens) - 1, WINDOW)]
        found = Predictions.joined(ours(engine, windows))
        prompt = windows[0][:128]
        wanted = wanted or greedy(engine, prompt)
        base = base or found
        yield found.row(form, base, f"{agreement(engine, prompt, wanted)} of {GREEDY}, {seconds:.1f} s")
        del engine
    if options.gguf:
        found = Predictions.joined(theirs(options.gguf, windows))
        yield found.row(f"llama.cpp, {Path(options.gguf).name}", base or found, "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--formats", default="none,int8,int4")
    parser.add_argument("--gguf", default="")
    parser.add_argument("--tokens", type=int, default=4096)
    for line in report(parser.parse_args()):
        print(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
