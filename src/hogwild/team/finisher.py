"""The finisher: when the team must stop, it asks for the final answer at once, from all that was written.

It reads the whole transcript, each unfinished step closed by the mark, and works on forks, so that a team can go on
after a snapshot. Its passes are no part of the budget (paper, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hogwild.engine import Block, Row
from hogwild.errors import CacheFull, WindowError
from hogwild.sampling import Sampling, sample, uniform
from hogwild.team.answer import find_answer
from hogwild.team.layout import Layout
from hogwild.team.setup import Setup
from hogwild.team.text import Reader
from hogwild.team.workspace import Workspace

ANSWERER = -1
"""The finisher's number where workers have theirs: it draws random numbers of its own."""

GREEDY = Sampling(temperature=0.0)


class Finisher:
    """Asks for the final answer of one team. The form ``text`` uses the team's sampling; the others are greedy."""

    def __init__(self, setup: Setup, layout: Layout, sampling: Sampling) -> None:
        self._setup = setup
        self._engine = setup.engine
        self._layout = layout
        self._form = setup.settings.answer
        self._sampling = sampling if self._form == "text" else GREEDY

    def ask(self, space: Workspace) -> Iterator[str]:
        """Yield the pieces of the answer's text, and none when there is no room for an answer.

        Frees all that it allocates, even when it is not run to the end.
        """
        blocks = list[Block]()
        try:
            self._read_transcript(space, blocks)
            blocks.append(self._engine.block())
            logits = self._engine.prefill(blocks, self._setup.codec.encode(self._setup.finisher_text()))
            yield from self._write(blocks, logits)
        except (CacheFull, WindowError):
            return
        finally:
            for block in blocks:
                block.free()

    def parse(self, text: str) -> tuple[str | None, str]:
        """The parsed answer, or None, and the text to show, of what `ask` yielded."""
        if self._form == "text":
            return text.strip() or None, text.strip()
        shown = self._setup.finisher_text().rsplit("\n", 1)[-1] + text
        return find_answer(shown, self._form, self._setup.task), shown.strip()

    def _read_transcript(self, space: Workspace, blocks: list[Block]) -> None:
        """Append forks of all that was written to ``blocks``, and feed into them what is pending."""
        finished, *unfinished = self._layout.transcript(space)
        blocks += [block.fork() for block in finished]
        base, rows = list(blocks), list[Row]()
        for (block,), member in zip(unfinished, space.members, strict=True):
            step = block.fork()
            blocks.append(step)
            if member.body.strip():
                rows.append(Row([*base, step], member.pending))
            blocks.append(space.mark.fork())
        if rows:
            self._engine.forward(rows)

    def _write(self, view: Sequence[Block], logits: Tensor) -> Iterator[str]:
        """Sample until the model ends its turn, the form is complete or the answer's tokens are used up."""
        codec, settings = self._setup.codec, self._setup.settings
        reader, text = Reader(codec), ""
        for index in range(settings.longest_answer):
            seen = torch.tensor([token for block in view for token in block.tokens], device=logits.device)
            token = sample(logits, self._sampling, uniform(settings.seed, ANSWERER, index), seen)
            if token in codec.end_ids:
                return
            piece = reader.push(token)
            text += piece
            yield piece
            if is_complete(self._form, text):
                return
            logits = self._engine.forward([Row(view, [token])])[0]


def is_complete(form: str, text: str) -> bool:
    """Whether an answer that was begun for the model has come to its end. Free text ends where the model ends it."""
    if form == "boxed":
        return text.count("}") > text.count("{")
    if form == "number":
        return "\n" in text.lstrip("\n")
    return form == "code" and "\n```" in text
