"""Fakes for the tests of teams: a byte-level tokenizer, a tiny Llama that it fits, and engines that follow a script.

A scripted engine keeps blocks, pages and errors as they are and computes nothing: each worker writes what the script
says. It knows who writes by the prompt set `PIECES`, which puts ``Alice@2:`` before Alice's second step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from hogwild import Event, Team
from hogwild.engine import Engine, Row, passes
from hogwild.models.load import Loaded
from hogwild.team import layout
from hogwild.team.ask import Play, drive
from tiny import BASE

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LAYOUTS = list(layout.LAYOUTS)
VOCAB = 272  # a few more than the tokenizer has, as real models do
PAGE = 64

PIECES = {
    "user": "{{ task }} [{{ names | join(', ') }}]",
    "history": "(history)",
    "others": "(others)",
    "mark": "...",
    "own": "(own {{ me }})",
    "step": "{{ me }}@{{ step }}:",
    "opening": "",
    "check": "[check]",
    "private": "(for {{ me }}: {{ role }}{{ parts | map(attribute='text') | join(', ') }})",
    "said": "({{ name }} says {{ text }})",
    "joined": "({{ me }} joins {{ names[:-1] | join(', ') }})",
    "dropped": "(dropped)",
    "plan": "[plan {{ limit }}] {{ task }}",
    "finish_text": "[finish]",
    "finish_boxed": "[finish]\\boxed{",
    "finish_number": "[finish]\n#### ",
    "finish_code": "[finish]\n```",
}
_HEAD = re.compile(r"(?P<name>[\w ]+)@(?P<step>\d+):(?:\[check\])?")
_FINISH = re.compile(r"\[finish\](?:[0-9]+of[0-9]+)?(?:\\boxed\{|\n#### |\n```)?")


def make_tokenizer(*, thinking: bool = False, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """One token a byte, but for ``\\n\\n``, ``.\\n\\n``, ``##`` and ``###``."""
    merges = [("Ċ", "Ċ"), (".", "ĊĊ"), ("#", "#"), ("##", "#")]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    core = tokenizers.Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    if thinking:
        tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = THINKING if thinking else template
    return tokenizer


@cache
def tiny_llama(positions: int = 2048) -> PreTrainedModel:
    """Random, in float32, with weights drawn wide enough that what it reads shows."""
    torch.manual_seed(7)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8, "vocab_size": VOCAB}
    config = AutoConfig.for_model("llama", **{**BASE, **small, "max_position_embeddings": positions})
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.generation_config.eos_token_id = [eos()]
    return model


@cache
def default_tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def eos() -> int:
    return int(default_tokenizer().convert_tokens_to_ids("<|im_end|>"))


def encode(text: str) -> list[int]:
    tokens: list[int] = default_tokenizer().encode(text, add_special_tokens=False)
    return tokens


def decode(tokens: Sequence[int]) -> str:
    text: str = default_tokenizer().decode(list(tokens))
    return text


def tiny_team_engine(pages: int = 256, positions: int = 2048, tokenizer: Any = None) -> Engine:
    """An engine that computes, on `tiny_llama`."""
    engine: Engine = _open(Engine, pages, positions, tokenizer)
    return engine


def _open(kind: type[Engine], pages: int, positions: int, tokenizer: Any) -> Any:
    model = tiny_llama(positions)
    slot = 2 * 2 * 2 * 8 * 4  # layers, key and value, KV heads, head size, bytes of a float32
    loaded = Loaded("tiny", model, tokenizer or default_tokenizer(), model.generation_config)
    return kind(loaded, pages * PAGE * slot)


class ScriptedEngine(Engine):
    """Follows a script. ``seen`` keeps, for each forward, the tokens of each row's view, the new ones included.

    ``steps`` holds what each worker writes, step by step; where that ends, it wants to end its turn, and writes ``x``
    if it must not. ``answer`` is what the finisher writes, ``plan`` the planner. ``hook`` is called before each pass.
    """

    steps: dict[str, list[str]]
    answer: str
    plan: str
    seen: list[list[list[int]]]
    hook: Callable[[], None]

    def forward(self, rows: Sequence[Row], *, all_positions: bool = False) -> Tensor:
        self.hook()
        logits = super().forward(rows, all_positions=all_positions)
        self.seen.append([[token for block in row.view for token in block.tokens] for row in rows])
        return logits

    def _pass(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        assert not all_positions
        passes.reserve(rows, self.pool)
        for row in rows:
            row.own.commit(row.tokens)
        if self.observer is not None:
            self.observer(rows)
        owns = [row.own.tokens[: len(row.own) - hidden] for row in rows for hidden in range(row.drafts, -1, -1)]
        logits = torch.zeros(len(owns), self.vocab_size)
        for own, line in zip(owns, logits, strict=True):
            line[encode("x")[0]] = 5.0
            line[self._next(list(own))] = 10.0
        return logits

    def _next(self, own: list[int]) -> int:
        text = decode(own)
        heads = list(_HEAD.finditer(text))
        if finish := _FINISH.search(text):
            return _after(own, text[: finish.end()], self.answer)
        if "[plan" in text:
            return _after(own, "".join(text.partition("assistant\n")[:2]), self.plan)
        if heads:
            steps, number = self.steps.get(heads[-1]["name"], []), int(heads[-1]["step"])
            return _after(own, text[: heads[-1].end()], steps[number - 1] if number <= len(steps) else "")
        return encode("x")[0]


def _after(own: list[int], begin: str, script: str) -> int:
    """The next token of a script that is written behind the text ``begin``; the turn's end where it has ended."""
    pieces = default_tokenizer().convert_ids_to_tokens(own)
    sizes = accumulate(len(piece or "") for piece in pieces)  # in bytes: one letter is one
    first = next(count for count, size in enumerate(sizes, 1) if size == len(begin.encode()))
    written, wanted = own[first:], encode(script)
    return wanted[len(written)] if wanted[: len(written)] == written and len(written) < len(wanted) else eos()


def scripted(
    steps: dict[str, list[str]] | None = None,
    *,
    answer: str = "42}",
    plan: str = "",
    pages: int = 256,
    positions: int = 2048,
    tokenizer: Any = None,
) -> ScriptedEngine:
    """A `ScriptedEngine` with a pool of so many pages of 64 tokens."""
    engine: ScriptedEngine = _open(ScriptedEngine, pages, positions, tokenizer)
    engine.steps, engine.answer, engine.plan, engine.seen = steps or {}, answer, plan, []
    engine.hook = lambda: None
    return engine


def model_folder(parent: Path, name: str = "tiny") -> Path:
    """A tiny model with a byte tokenizer in a new folder, as the hub has them."""
    folder = parent / name
    tiny_llama().save_pretrained(folder)
    default_tokenizer().save_pretrained(folder)
    return folder


def prompt_folder(folder: Path, **pieces: str) -> Path:
    """A prompt set of `PIECES`, with some of them replaced."""
    folder.mkdir(exist_ok=True)
    for name, text in {**PIECES, **pieces}.items():
        (folder / f"{name}.jinja").write_text(text)
    return folder


def run(team: Team) -> list[Any]:
    """All events of a team, from `Started` to `Finished`."""
    return list(team.run())


def result_of(engine: Engine, play: Play[Any]) -> Any:
    """What a play returns, its passes done by ``engine``; its events are dropped."""
    driven = drive(engine, play)
    while True:
        try:
            next(driven)
        except StopIteration as end:
            return end.value


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events]


def of_kind(events: Sequence[Event], kind: str) -> list[Any]:
    return [event for event in events if event.kind == kind]


def tokens_of(events: Sequence[Event], worker: str) -> list[int]:
    """The tokens that a worker wrote, by its events."""
    return [event.token for event in of_kind(events, "token") if event.worker == worker]
