"""The protocol of a team once more, slow and obviously right: lists of tokens, no cache, no blocks, no engine.

Each worker follows a script of steps. `simulate` gives what every worker's view holds in each pass, as tokens, for the
packaged layouts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fakes import decode, encode

BREAK = "\n\n"


@dataclass
class Writer:
    """One worker: what it will write, what it has written of its step, what it feeds next."""

    name: str
    script: list[list[int]]
    fed: list[int] = field(default_factory=list)  # of the current step; contiguous: of all steps
    pending: list[int] = field(default_factory=list)
    step: int = 1
    said: list[int] = field(default_factory=list)  # of the current step, without its prefix

    def sample(self) -> None:
        tokens = self.script[self.step - 1] if self.step <= len(self.script) else []
        token = tokens[len(self.said)] if len(self.said) < len(tokens) else encode("x")[0]
        self.said.append(token)
        self.pending = [token]

    def has_ended(self) -> bool:
        return decode(self.said[-1:]).endswith("\n\n") and decode(self.said).strip()[-1:] in tuple(".?!")


def simulate(layout: str, scripts: dict[str, list[str]], passes: int) -> list[list[list[int]]]:
    """For each pass, for each worker: the tokens that its view holds."""
    writers = [Writer(name, [encode(step) for step in steps]) for name, steps in scripts.items()]
    for writer in writers:
        writer.pending = encode(f"{'' if len(writers) == 1 else BREAK}{writer.name}@1:")
    prompt = encode(f"<|im_start|>user\nTask [{', '.join(scripts)}]<|im_end|>\n<|im_start|>assistant\n(history)")
    history: list[int] = []
    seen = []
    for _ in range(passes):
        for writer in writers:
            writer.fed += writer.pending
        seen.append([prompt + history + view(layout, writers, writer) for writer in writers])
        for writer in writers:
            writer.sample()
            if writer.has_ended():
                writer.step, writer.said = writer.step + 1, []
                writer.pending += encode(f"{writer.name}@{writer.step}:")
                if layout != "contiguous":
                    history += writer.fed
                    writer.fed = []
    return seen


def view(layout: str, writers: list[Writer], me: Writer) -> list[int]:
    """What a worker sees after the history."""
    others = [token for writer in writers if writer is not me for token in writer.fed]
    if layout == "interleaved" or len(writers) == 1:
        return me.fed
    if layout == "contiguous":
        return others + me.fed
    return encode("(others)") + others + encode(f"(own {me.name})") + me.fed
