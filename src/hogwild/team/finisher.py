"""The finisher: when the team must stop, it asks for the final answer at once, from all that was written.

It reads the whole transcript, each unfinished step closed by the mark, and works on forks, so that a team can go on
after a snapshot. Its passes are no part of the budget (paper, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hogwild.engine import Block, Row
from hogwild.errors import CacheFull, WindowError
from hogwild.sampling import Sampling
from hogwild.team.answer import boxed, find_answer
from hogwild.team.chooser import write_alone
from hogwild.team.drafts import WRITER, Drafter
from hogwild.team.layout import Layout, shown
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
        blocks, settings = list[Block](), self._setup.settings
        try:
            self._read_transcript(space, blocks)
            # A drafter of its own: what the team drafts must not depend on whether somebody asked for a snapshot.
            drafter = Drafter(settings.drafts)
            for block in blocks:
                drafter.read("", block.tokens)
            asked = self._setup.codec.encode(self._setup.finisher_text())
            drafter.read(WRITER, asked)
            blocks.append(self._engine.block())
            logits = self._engine.prefill(blocks, asked)
            tokens = write_alone(self._engine, blocks, logits, self._sampling, settings.seed, ANSWERER, drafter)
            yield from self._read(islice(tokens, settings.longest_answer))
        except (CacheFull, WindowError):
            return
        finally:
            for block in blocks:
                block.free()

    def parse(self, text: str) -> tuple[str | None, str]:
        """The parsed answer, or None, and the text to show, of what `ask` yielded."""
        if self._form == "text":
            return text.strip() or None, text.strip()
        begun = self._setup.finisher_text().rsplit("\n", 1)[-1]
        shown = begun + (text.lstrip() if self._form == "number" else text)
        return find_answer(shown, self._form), shown.strip()

    def _read_transcript(self, space: Workspace, blocks: list[Block]) -> None:
        """Append forks of all that was written to ``blocks``, and feed into them what is pending."""
        blocks += [block.fork() for block in self._layout.finished(space)]
        base, rows = list(blocks), list[Row]()
        for member in space.members:
            own = [block.fork() for block in shown(member)]
            blocks += own
            if member.body.strip():  # an unfinished step
                blocks.append(space.mark.fork())
                if member.pending:
                    rows.append(Row([*base, *own], member.pending))
        if rows:
            self._engine.forward(rows)

    def _read(self, tokens: Iterator[int]) -> Iterator[str]:
        """Pieces of text until the model ends its turn or the form is complete."""
        codec, text = self._setup.codec, ""
        reader = Reader(codec)
        for token in tokens:
            if token in codec.end_ids:
                return
            piece = reader.push(token)
            text += piece
            yield piece
            if is_complete(self._form, text):
                return


def is_complete(form: str, text: str) -> bool:
    """Whether an answer that was begun for the model has come to its end. Free text ends where the model ends it."""
    if form == "boxed":
        return boxed("\\boxed{" + text) is not None
    if form == "number":
        return "\n" in text.lstrip()
    return form == "code" and "\n```" in text
