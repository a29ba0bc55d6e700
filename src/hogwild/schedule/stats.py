"""What a scheduler counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stats:
    """Numbers of one scheduler since it was made; the first six say how it is now.

    Attributes:
        queued, running, paused: teams in each state.
        pages_used, pages_total: of the pool; pages that are only kept in case they are wanted again are not used.
        longest_pass: tokens of the longest pass so far, which bounds how long a running team waits for its next one.
        passes, rows, tokens: passes of the engine, their rows, and the tokens that were fed.
        submitted, admitted, finished, failed, cancelled, expired: teams.
        pauses: how often a team was paused because the pool ran dry.
        pass_seconds: time in the engine. work_seconds: time in the teams' own work between passes, sampling included.
        first_token_seconds, first_tokens: from submission to a team's first token, summed, and of how many teams.
        queue_seconds: from submission to admission, summed.
    """

    queued: int = 0
    running: int = 0
    paused: int = 0
    pages_used: int = 0
    pages_total: int = 0
    longest_pass: int = 0
    passes: int = 0
    rows: int = 0
    tokens: int = 0
    submitted: int = 0
    admitted: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    pauses: int = 0
    pass_seconds: float = 0.0
    work_seconds: float = 0.0
    first_token_seconds: float = 0.0
    first_tokens: int = 0
    queue_seconds: float = 0.0

    def count(self, rows: int, tokens: int, seconds: float) -> None:
        """A pass was done."""
        self.passes += 1
        self.rows += rows
        self.tokens += tokens
        self.longest_pass = max(self.longest_pass, tokens)
        self.pass_seconds += seconds
