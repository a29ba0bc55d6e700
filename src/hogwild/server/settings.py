"""What a server allows, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from hogwild.errors import OptionError
from hogwild.team.worker import MAX_WORKERS

SHORTEST_KEY = 8
"""Characters of an API key; a shorter one could be guessed."""


@dataclass(frozen=True)
class ServerSettings:
    """What a server allows.

    Attributes:
        name: what clients call the model; by default its own name.
        api_keys: any of these opens the server; none leaves it open to everybody who reaches it.
        workers_default: workers of ``POST /v1/teams`` where neither the request nor its model says.
        budget_default: passes where a request does not say.
        max_body: bytes of a request.
        max_messages: messages of a conversation, or prompts of a completion.
        max_workers: workers of a team when it starts.
        max_budget: passes of a team.
        max_choices: ``n``.
        max_open: teams of one key that have not ended, those in the queue included; as many event streams.
        request_seconds: a team is cut off after so long, counted from its request; None for never.
        keep_seconds: how long a team that has ended can still be asked for.
        keep_teams: how many of them at most.
        grace: seconds that running teams have when the server stops; then they answer with what they have.
        cors: origins whose pages may call the server; ``*`` for all.
        hosts: names that a request may call the server by; none for any. Keeps other sites' pages out (DNS rebinding).
        log_text: whether requests' texts may be logged.

    Raises:
        OptionError: a value is out of range.
    """

    name: str | None = None
    api_keys: tuple[str, ...] = ()
    workers_default: int = 2
    budget_default: int = 512
    max_body: int = 1 << 20
    max_messages: int = 256
    max_workers: int = 8
    max_budget: int = 4096
    max_choices: int = 8
    max_open: int = 64
    request_seconds: float | None = 600.0
    keep_seconds: float = 600.0
    keep_teams: int = 128
    grace: float = 10.0
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    log_text: bool = False

    def __post_init__(self) -> None:
        for field in ("budget_default", "max_body", "max_messages", "max_budget", "max_choices", "max_open"):
            if getattr(self, field) < 1:
                raise OptionError(f"{field} is {getattr(self, field)}: give 1 or more")
        if not 1 <= self.max_workers <= MAX_WORKERS:
            raise OptionError(f"max_workers is {self.max_workers}: a team has 1 to {MAX_WORKERS}")
        if not 1 <= self.workers_default <= self.max_workers:
            raise OptionError(f"workers_default is {self.workers_default}: give 1 to max_workers, {self.max_workers}")
        if self.budget_default > self.max_budget:
            raise OptionError(f"budget_default is {self.budget_default}, over max_budget, {self.max_budget}")
        for field in ("keep_seconds", "keep_teams", "grace"):
            if not getattr(self, field) >= 0:
                raise OptionError(f"{field} is {getattr(self, field)}: give 0 or more")
        if self.request_seconds is not None and not self.request_seconds > 0:
            raise OptionError(f"request_seconds is {self.request_seconds}: give a time above 0, or none")
        if any(len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() for key in self.api_keys):
            raise OptionError(f"an API key is too short or odd: give {SHORTEST_KEY} or more ASCII characters")
