"""Every figure of docs/models.md and docs/exactness.md, by a command.

    python examples/exactness.py families              each family's largest difference, measured here
    python examples/exactness.py table                 the support table as it stands in docs/models.md
    python examples/exactness.py selftest [--model M]  the self-test in each dtype
    python examples/exactness.py reorder [--model M]   moved and reordered blocks against encoding them anew
    python examples/exactness.py drift [--model M]     what bfloat16 loses when keys are moved

M is a packaged model, a Hugging Face folder, a .gguf file or a hub id. Figures are in nats unless they say otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hogwild.engine import Block, Engine, Row
from hogwild.models.families import FAMILIES

MODEL = "smollm2-135m-instruct"
KV_MEMORY = 512 << 20

TASK = """\
We have a garden bed of 3 by 2 metres that gets six hours of sun. Plan it for a family of four: what to sow, when, and \
how to water it. Two of us work on this at the same time."""

# Three finished steps of each worker, as they end: Alice, Bob, Alice, Bob, ...
STEPS = (
    "Alice [1]: Let me look at the space first. The bed has 6 square metres. If we leave a path of 30 cm through the "
    "middle, about 5 square metres remain for plants, which I would split into four strips of equal size.\n\n",
    "Bob [1]: I take the calendar then. With six hours of sun we can grow tomatoes and beans, but nothing that needs a "
    "full day. Peas and radishes go into the ground in March, beans not before the middle of May.\n\n",
    "Alice [2]: Bob has the calendar, so I stay with the strips. Tomatoes belong at the north end, where they shade "
    "nobody. Next to them beans on poles, then carrots and onions in turns, and salad at the south end.\n\n",
    "Bob [2]: Alice puts the salad in the south, which fits: it is sown again every three weeks from April on. For "
    "four people, twelve heads at a time are enough. Tomatoes are bought as young plants, six, in late May.\n\n",
    "Alice [3]: Six tomato plants need 50 cm each, so they fill the north strip exactly. Carrots and onions keep each "
    "other's flies away, therefore I would mix them row by row, with 25 cm between the rows.\n\n",
    "Bob [3]: Now the water. A bed of this size wants about 20 litres a day in July, given in the morning and at the "
    "roots. A drip hose along the four strips with a timer does it, and a layer of straw saves a third of it.\n\n",
)
# What comes next: on these tokens the predictions are compared.
PROBES = (
    "Alice [4]: Bob has solved the watering, so let me put the strips together with his dates. In March we sow peas "
    "and radishes where the beans will stand later. In May the tomatoes move in.\n\n",
    "Bob [4]: To sum up what Alice and I have: four strips of 3 metres, tomatoes in the north, then beans, carrots "
    "with onions, and salad in the south. The hose gives 20 litres every morning.\n\n",
)


@dataclass(frozen=True)
class Gap:
    """How far two series of predictions for the same tokens are apart."""

    divergence: float  # KL(p || q), nats a token: the mean
    median: float  # and the median
    agreement: float  # share of tokens whose most likely prediction is the same
    largest: float  # largest gap of a logit, in units of a logit
    relative: float  # the same over the largest logit
    loss: tuple[float, float]  # what the true next token costs, nats a token, under p and q

    HEAD = (
        "| what | KL: mean | KL: median | same top token | largest logit gap | of the largest logit | loss |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )

    def row(self, what: str) -> str:
        """A row of a markdown table."""
        before, after = self.loss
        return (
            f"| {what} | {self.divergence:.2g} | {self.median:.2g} | {self.agreement:.1%} | {self.largest:.2g} | "
            f"{self.relative:.1e} | {before:.3f} to {after:.3f} |"
        )


def compare(p: Tensor, q: Tensor, tokens: Sequence[int]) -> Gap:
    """Compare logits [n, vocab] of the same places; ``tokens`` are those that were fed."""
    one, two = p.double(), q.double()
    log_p, log_q = one.log_softmax(-1), two.log_softmax(-1)
    true = torch.tensor(tokens[1:])[:, None]
    gap = float((one - two).abs().max())
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)  # [n]
    return Gap(
        divergence=float(divergence.mean()),
        median=float(divergence.median()),
        agreement=float((one.argmax(-1) == two.argmax(-1)).double().mean()),
        largest=gap,
        relative=gap / float(one.abs().max()),
        loss=(-float(log_p[:-1].gather(1, true).mean()), -float(log_q[:-1].gather(1, true).mean())),
    )


class Story:
    """The texts above as tokens of one model, and the blocks that hold them in one way or another."""

    def __init__(self, engine: Engine) -> None:
        assert engine.tokenizer is not None
        self.engine = engine
        chat = [{"role": "user", "content": TASK}]
        self.prompt: list[int] = engine.tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        self.steps = [self.encode(text) for text in STEPS]
        self.probes = [self.encode(text) for text in PROBES]

    def encode(self, text: str) -> list[int]:
        """A text as tokens, with nothing around them."""
        assert self.engine.tokenizer is not None
        ids: list[int] = self.engine.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def fresh(self, *texts: Sequence[int]) -> Block:
        """One block in which all of it is encoded in order, as a single writer would."""
        block = self.engine.block()
        self.engine.prefill([block], [token for text in texts for token in text])
        return block

    def write_together(self, common: Block, pair: Sequence[Sequence[int]]) -> tuple[Block, Block]:
        """Two workers write a step each at the same time, token by token; each sees the other's before its own."""
        a, b = self.engine.block(), self.engine.block()
        views = ([common, b, a], [common, a, b])
        for place in range(max(map(len, pair))):
            rows = [Row(view, [text[place]]) for view, text in zip(views, pair, strict=True) if place < len(text)]
            self.engine.forward(rows)
        return a, b

    def together(self) -> Block:
        """The history after all steps were written two at a time and moved there, the shorter first."""
        common = self.fresh(self.prompt)
        for first in range(0, len(self.steps), 2):
            pair = self.steps[first : first + 2]
            for block in sorted(self.write_together(common, pair), key=len):
                common.extend(block)
        return common

    def in_order(self) -> list[int]:
        """The tokens of the same history."""
        pairs = [self.steps[first : first + 2] for first in range(0, len(self.steps), 2)]
        return [*self.prompt, *(token for pair in pairs for text in sorted(pair, key=len) for token in text)]

    def alone(self, moves: int = 1) -> Block:
        """The history of one worker whose steps moved to where they stood; ``moves`` times in all."""
        common, spacer = self.fresh(self.prompt), self.fresh(self.prompt)
        for text in self.steps:
            step = self.engine.block()
            self.engine.prefill([common, step], text)
            for _ in range(moves // 2):  # there and back again
                away = spacer.fork()
                away.extend(step)
                step = away.without(0, len(spacer))
            common.extend(step)
        return common

    def predict(self, view: Sequence[Block]) -> tuple[Tensor, list[int]]:
        """Logits over all probes, each written into a block behind ``view``, and the tokens."""
        logits, tokens = [], list[int]()
        for probe in self.probes:
            logits.append(self.engine.forward([Row([*view, self.engine.block()], probe)], all_positions=True))
            tokens += probe
        return torch.cat(logits), tokens

    def gap(self, true: Sequence[Block], other: Sequence[Block]) -> Gap:
        """How far predictions behind ``other`` are from those behind ``true``."""
        p, tokens = self.predict(true)
        return compare(p, self.predict(other)[0], tokens)


def load(model: str, dtype: str) -> Engine:
    """An engine with enough memory for a story."""
    return Engine.load(model, dtype=dtype, kv_memory=KV_MEMORY)


def reorder(model: str) -> Iterable[str]:
    """What it changes that moved blocks keep the hidden states of the view they were written in."""
    story = Story(load(model, "float32"))
    yield Gap.HEAD
    anew = story.fresh(story.in_order())
    alone = [story.prompt, *story.steps]
    yield story.gap([story.fresh(*alone)], [story.alone()]).row("one worker, each step moved to where it stood")
    yield story.gap([anew], [story.together()]).row("history of two workers, moved, against encoded anew")
    # Both last steps are still being written; whoever reads them has a block of its own behind them.
    common = story.fresh(story.prompt, *story.steps[:4])
    a, b = story.write_together(common, story.steps[4:])
    for name, order in (("theirs, then mine", (1, 0)), ("mine, then theirs", (0, 1))):
        texts = [story.steps[4 + n] for n in order]
        view = [common, *((a, b)[n] for n in order)]
        true = [story.fresh(story.prompt, *story.steps[:4], *texts)]
        yield story.gap(true, view).row(f"two steps in the making, read as {name}, against encoded anew")
    swapped = [story.steps[n] for n in (1, 0, 3, 2, 5, 4)]
    other = [story.fresh(story.prompt, *swapped)]
    yield story.gap([story.fresh(*alone)], other).row("for scale: steps in the other order, both encoded anew")
    missing = [story.fresh(story.prompt, *story.steps[:-1])]
    yield story.gap([story.fresh(*alone)], missing).row("for scale: the last step left out")


def drift(model: str) -> Iterable[str]:
    """bfloat16 against float32, with keys that were never moved, moved once, and moved many times."""
    exact = Story(load(model, "float32"))
    p, tokens = exact.predict([exact.fresh(exact.prompt, *exact.steps)])
    del exact
    half = Story(load(model, "bfloat16"))
    yield Gap.HEAD
    yield compare(p, half.predict([half.fresh(half.prompt, *half.steps)])[0], tokens).row("bfloat16, never moved")
    for moves in (1, 3, 11, 41):
        q, _ = half.predict([half.alone(moves)])
        yield compare(p, q, tokens).row(f"bfloat16, each step moved {moves} time{'s' * (moves > 1)}")


def selftest(model: str) -> Iterable[str]:
    """The self-test's report in each dtype."""
    yield "| dtype | difference | rounding explains | tokens |"
    yield "| --- | --- | --- | --- |"
    for dtype in ("float32", "bfloat16", "float16"):
        report = load(model, dtype).report
        assert report is not None
        yield f"| {dtype} | {report.difference:.1e} | {report.tolerance:.1e} | {report.tokens} |"


def families() -> Iterable[str]:
    """Measure every supported family on its tiny random model, as the tests do."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from tiny import measured_difference

    for family in FAMILIES:
        if family.difference is not None:
            yield f"{family.name:<28} {measured_difference(family.name):.1e}   in the table: {family.difference:.1e}"


def table() -> Iterable[str]:
    """The support table."""
    yield "| family | status | difference | what is special |"
    yield "| --- | --- | --- | --- |"
    for family in FAMILIES:
        shown = "" if family.difference is None else f"{family.difference:.1e}"
        yield f"| {family.name} | {family.status} | {shown} | {family.notes} |"


def main() -> None:
    """Run one command and print its lines as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["families", "table", "selftest", "reorder", "drift"])
    parser.add_argument("--model", default=MODEL, help=f"default: {MODEL}")
    arguments = parser.parse_args()
    on_a_model = {"selftest": selftest, "reorder": reorder, "drift": drift}
    if arguments.command in on_a_model:
        lines = on_a_model[arguments.command](arguments.model)
    else:
        lines = families() if arguments.command == "families" else table()
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
