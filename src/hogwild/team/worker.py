"""Workers: what a user says of one, and what a running team knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hogwild.engine import Block
from hogwild.errors import OptionError
from hogwild.sampling import Sampling
from hogwild.team.text import Reader

MAX_WORKERS = 16
NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mike", "Nina", "Oscar", "Peggy",
)  # fmt: skip


@dataclass(frozen=True)
class Worker:
    """One instance of the model in a team.

    ``prompt`` (its role, what it alone knows) and ``parts`` (its share of the task) stand in a private block right
    before its own text. ``opening`` begins its first step. ``sampling`` overrides the team's.
    """

    name: str
    prompt: str | None = None
    opening: str | None = None
    sampling: Sampling | None = None
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip() or "\n" in self.name or len(self.name) > 40:
            raise OptionError(f"name is {self.name!r}: a worker's name is one line of 1 to 40 characters")


@dataclass
class Member:
    """A worker at work: the block of its current step and what it will feed next."""

    worker: Worker
    index: int  # of its random numbers, and for ties: the lower one is first
    block: Block
    reader: Reader
    private: Block | None = None
    header: Block | None = None  # announces its own work, in layouts that show it
    pending: list[int] = field(default_factory=list)  # tokens to feed in the next pass
    step: int = 1
    written: int = 0  # tokens it has sampled
    text: str = ""  # of the current step, prefix included
    prefix: str = ""  # what was put into its mouth at the start of the step

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.worker.name

    @property
    def body(self) -> str:
        """What it has written of the current step itself."""
        return self.text[len(self.prefix) :]


def make_workers(workers: int | list[Worker], names: list[str] | None = None) -> list[Worker]:
    """The workers of a team from a number or a list. Raises `OptionError` unless there are 1 to 16 with own names."""
    if isinstance(workers, int):
        chosen = list(names or NAMES)
        if not 1 <= workers <= MAX_WORKERS:
            raise OptionError(f"workers is {workers}: a team has 1 to {MAX_WORKERS} workers")
        if len(chosen) < workers:
            raise OptionError(f"names gives {len(chosen)} names for {workers} workers: give one for each")
        workers = [Worker(name) for name in chosen[:workers]]
    if not 1 <= len(workers) <= MAX_WORKERS:
        raise OptionError(f"workers is a list of {len(workers)}: a team has 1 to {MAX_WORKERS} workers")
    if len({worker.name for worker in workers}) != len(workers):
        raise OptionError("names has the same name twice: the workers could not tell each other apart")
    return workers
