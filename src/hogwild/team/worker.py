"""Workers: what a user says of one, and what a running team knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild.engine import Block, Row
from hogwild.errors import OptionError
from hogwild.sampling import Sampling
from hogwild.team.grammar import Grammar
from hogwild.team.text import Reader, is_text
from hogwild.team.tools import Found

MAX_WORKERS = 16
NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mike", "Nina", "Oscar", "Peggy",
)  # fmt: skip


@dataclass(frozen=True)
class Worker:
    """One instance of the model in a team.

    ``prompt`` (its role, what it alone knows) stands in a private block right before its own text; that of one worker
    alone in the user's message, which those who join later can read. ``opening`` begins its first step. ``sampling``
    overrides the team's.
    """

    name: str
    prompt: str | None = None
    opening: str | None = None
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for field_name, kind in (("prompt", str), ("opening", str), ("sampling", Sampling)):
            value = getattr(self, field_name)
            if value is not None and not isinstance(value, kind):
                raise OptionError(f"{field_name} of {self.name} is {value!r}: give a {kind.__name__} or None")


def check_name(name: str) -> None:
    """Raise `OptionError` unless ``name`` can stand before what someone writes."""
    if not isinstance(name, str) or name.strip() != name or len(name.splitlines()) != 1 or len(name) > 40:
        raise OptionError(f"name is {name!r}: a name is one line of 1 to 40 characters, with no space around it")
    if not is_text(name):
        raise OptionError(f"name is {name!r}: it holds half a character (a lone surrogate)")


@dataclass
class Member:
    """A worker at work: the block of its current step and what it will feed next."""

    worker: Worker
    index: int  # of its random numbers, and for ties: the lower one is first
    block: Block
    reader: Reader
    private: Block | None = None
    header: Block | None = None  # announces its own work, in layouts that show it
    gap: Block | None = None  # others see it before its first words, which stand right behind its private block
    pending: list[int] = field(default_factory=list)  # tokens to feed in the next pass
    from_private: bool = False  # what is pending is the last token of the private block: nobody else sees it
    grammar: Grammar | None = None  # what all that it writes must follow
    found: Found | None = None  # the tool call that it has just made
    waiting: str | None = None  # the id of the tool call whose result it waits for
    calls: int = 0  # tools it has called
    told: int = 0  # where its own words begin in the text, behind the last result in it
    step: int = 1
    written: int = 0  # tokens it has sampled
    tokens: list[int] = field(default_factory=list)  # those tokens
    text: str = ""  # of the current step, prefix included
    shown: int = 0  # how much of the text was told in events, which never tell of calls
    prefix: str = ""  # what was put into its mouth at the start of the step

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.worker.name

    @property
    def body(self) -> str:
        """What it has written of the current step itself, since a tool has told it something."""
        return self.text[max(len(self.prefix), self.told) :]

    @property
    def begun(self) -> bool:
        """Whether there is anything of its own in the current step."""
        return self.told > 0 or bool(self.body.strip())

    def row(self, view: list[Block], drafts: Sequence[int] = ()) -> Row:
        """What the worker brings to a pass: what is pending goes into its own block, the last of its view, and drafts.

        Nothing is drafted behind the last token of a private block.
        """
        if self.from_private and view[-2] is self.private:
            return Row(view[:-1], self.pending)
        return Row(view, [*self.pending, *drafts], len(drafts))

    def free(self) -> None:
        """Give the pages of all its blocks back."""
        for block in self.blocks():
            block.free()

    def blocks(self) -> list[Block]:
        """All that are its own."""
        return [block for block in (self.block, self.private, self.header, self.gap) if block is not None]


def who_writes(members: Sequence[Member], in_turn: bool) -> list[Member]:
    """Those who write in the next pass: all that wait for no tool; ``in_turn`` only one of those that begin a step.

    That is the one with the fewest steps, so nobody is held back for long.
    """
    ready = [member for member in members if member.waiting is None]
    if not in_turn:
        return ready
    first = min((member for member in ready if not member.begun), key=lambda member: member.step, default=None)
    return [member for member in ready if member.begun or member is first]


def make_workers(workers: int | Sequence[Worker], names: Sequence[str] | None = None) -> list[Worker]:
    """The workers of a team from a number or a list. Raises `OptionError` unless there are 1 to 16 with own names."""
    if isinstance(workers, int) and not isinstance(workers, bool):
        chosen = _names(workers, names)
    elif isinstance(workers, (list, tuple)) and all(isinstance(worker, Worker) for worker in workers):
        if names is not None:
            raise OptionError("names is given, but each Worker of the list has a name: leave it out")
        chosen = list(workers)
    else:
        raise OptionError(f"workers is {workers!r}: give a number from 1 to {MAX_WORKERS} or a list of Worker")
    if not 1 <= len(chosen) <= MAX_WORKERS:
        raise OptionError(f"workers are {len(chosen)}: a team has 1 to {MAX_WORKERS}")
    if len({worker.name for worker in chosen}) != len(chosen):
        raise OptionError("names has the same name twice: the workers could not tell each other apart")
    return chosen


def _names(count: int, names: Sequence[str] | None) -> list[Worker]:
    if not 1 <= count <= MAX_WORKERS:
        raise OptionError(f"workers is {count}: a team has 1 to {MAX_WORKERS} workers")
    if isinstance(names, str) or (names is not None and len(names) < count):
        raise OptionError(f"names is {names!r}: give a list of {count}, one for each worker")
    return [Worker(name) for name in list(NAMES if names is None else names)[:count]]
