"""The finisher: when the team must stop, it asks for the final answer at once, from all that was written.

It reads the whole transcript, each unfinished step closed by the mark, and works on forks, so that a team can go on
after a snapshot. Its passes are no part of the budget (paper, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from hogwild.engine import Block, Row
from hogwild.errors import CacheFull, WindowError
from hogwild.sampling import Sampling
from hogwild.team.answer import as_item, boxed, find_answer
from hogwild.team.ask import Play, ask, side_by_side
from hogwild.team.chooser import Chooser, Soloist
from hogwild.team.drafts import WRITER, Drafter
from hogwild.team.events import Event
from hogwild.team.grammar import Grammar
from hogwild.team.layout import Layout, shown
from hogwild.team.setup import Setup
from hogwild.team.text import Reader
from hogwild.team.workspace import Workspace

ANSWERER = -1
"""The finisher's number where workers have theirs: it draws random numbers of its own."""

Tell = Callable[..., Event]
"""Makes an event of a token, its text, and what `Chooser.report` says of it."""

Said = dict[str, Any]
"""What the event of a token of the answer tells: its ``text`` at least."""

GREEDY = Sampling(temperature=0.0)


class Finisher:
    """Asks for the final answer of one team. The form ``text`` uses the team's sampling; the others are greedy."""

    def __init__(self, setup: Setup, layout: Layout, chooser: Chooser, sampling: Sampling) -> None:
        self._chooser = chooser
        self._setup = setup
        self._engine = setup.engine
        self._layout = layout
        self._asked = 0  # how many times
        self._form = setup.settings.answer
        self._sampling = sampling if self._form == "text" else GREEDY

    def ask(self, space: Workspace, tell: Tell | None = None) -> Play[list[str]]:
        """The pieces of the answer's text, as far as there is room for one; ``tell`` makes their events.

        Frees all that it allocates, even when it is not run to the end.
        """
        blocks, said = list[Block](), list[Said]()
        self._asked += 1
        try:
            yield from self._read_transcript(space, blocks)
            if self._setup.items == 1:
                yield from self._ask_once(blocks, said, tell)
            else:
                yield from self._ask_each(blocks, said, tell)
        except (CacheFull, WindowError):
            pass  # what there is counts
        finally:
            for block in blocks:
                block.free()
        return [one["text"] for one in said]

    def _ask_once(self, blocks: list[Block], said: list[Said], tell: Tell | None) -> Play[None]:
        """Ask for all at once; what is made is added to ``blocks`` and ``said``."""
        # A drafter of its own: what the team drafts must not depend on whether somebody asked for a snapshot.
        drafter = Drafter(self._setup.settings.drafts)
        for block in blocks:
            drafter.read("", block.tokens)
        asked = self._setup.codec.encode(self._setup.finisher_text())
        drafter.read(WRITER, asked)
        blocks.append(self._engine.block())
        logits = yield from ask([Row(blocks, asked)])
        grammar = None if self._setup.schema is None else self._setup.schema.begin()
        writer = (ANSWERER, self._asked)
        soloist = Soloist(blocks, logits[0], self._sampling, self._setup, ANSWERER, writer, drafter, grammar)

        def ended(text: str) -> bool:
            done = is_complete(self._form, text) if grammar is None else grammar.done
            return done or any(stop in text for stop in self._sampling.stop)

        yield from self._write(soloist, said, self._setup.settings.longest_answer, ended, grammar, tell)

    def _ask_each(self, blocks: list[Block], said: list[Said], tell: Tell | None) -> Play[None]:
        """Ask for each answer alone, all in the same passes; together they are what the box holds.

        One after the other, a small model loses the place: each would stand behind all answers before it.
        """
        setup, read = self._setup, list(blocks)
        asked = [setup.codec.encode(setup.finisher_text(item + 1)) for item in range(setup.items)]
        blocks += [self._engine.block() for _ in asked]
        rows = [Row([*read, own], tokens) for own, tokens in zip(blocks[len(read) :], asked, strict=True)]
        logits = yield from ask(rows)
        items = yield from side_by_side([self._item(row, logits[i], i) for i, row in enumerate(rows)])
        untold = ""  # what no token of its own tells: a missing answer
        for place, item in enumerate(items, 1):
            text = as_item("".join(one["text"] for one in item)) + (", " if place < len(items) else "}")
            said.append({"text": text})
            untold += text
            if tell is None or not item:
                continue
            for one in item:
                yield tell(**one | {"text": untold if one is item[-1] else ""})
            untold = ""

    def _item(self, row: Row, logits: Tensor, place: int) -> Play[list[Said]]:
        """One answer of several, which is one line."""
        said, longest = list[Said](), self._setup.settings.longest_item(self._setup.items)
        writer = Soloist(row.view, logits, self._sampling, self._setup, ANSWERER, (ANSWERER, self._asked, place))
        yield from self._write(writer, said, longest, lambda text: is_complete("boxed", text) or "\n" in text.lstrip())
        return said

    def parse(self, text: str) -> tuple[str | None, str]:
        """The parsed answer, or None, and the text to show, of what `ask` yielded."""
        if self._form == "text":
            return text.strip() or None, text.strip()
        begun = self._setup.finisher_text().rsplit("\n", 1)[-1]
        shown = begun + (text.lstrip() if self._form == "number" else text)
        return find_answer(shown, self._form), shown.strip()

    def _read_transcript(self, space: Workspace, blocks: list[Block]) -> Play[None]:
        """Append forks of all that was written to ``blocks``, and feed into them what is pending."""
        blocks += [block.fork() for block in self._layout.finished(space)]
        base, rows = list(blocks), list[Row]()
        for member in space.members:
            own = [block.fork() for block in shown(member)]
            blocks += own
            if member.begun:  # an unfinished step
                blocks.append(space.mark.fork())
                if member.pending:
                    rows.append(Row([*base, *own], member.pending))
        if rows:
            yield from ask(rows)

    def _write(
        self,
        writer: Soloist,
        said: list[Said],
        longest: int,
        ended: Callable[[str], bool],
        grammar: Grammar | None = None,
        tell: Tell | None = None,
    ) -> Play[None]:
        """Add tokens to ``said``, ``longest`` at most, until the model ends its turn or the text has ``ended``."""
        codec, reader, text = self._setup.codec, Reader(self._setup.codec), ""
        for _ in range(longest):
            token = yield from writer.write()
            if token in codec.end_ids:
                return
            if grammar is not None:
                grammar.push(token)
            said.append({"token": token, "text": reader.push(token), **self._chooser.report(writer.logits, token)})
            if tell is not None:
                yield tell(**said[-1])
            text += said[-1]["text"]
            if ended(text):
                return


def is_complete(form: str, text: str) -> bool:
    """Whether an answer that was begun for the model has come to its end. Free text ends where the model ends it."""
    if form == "boxed":
        return boxed("\\boxed{" + text) is not None
    if form == "number":
        return "\n" in text.lstrip()
    return form == "code" and "\n```" in text
