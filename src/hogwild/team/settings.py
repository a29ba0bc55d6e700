"""The settings of a team, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hogwild.errors import OptionError
from hogwild.team.tools import Tool, check_tools

ON_FULL = ("stop", "drop")

ANSWER_TOKENS = {"number": 16, "boxed": 64, "code": 1024, "text": 256}
"""The most tokens that an answer of each form may take."""

ITEM_TOKENS = 24
"""The least that one of several answers may take."""

SCHEMA_TOKENS = 512
"""The same where the answer follows a schema."""

MOST_LOGPROBS = 20
"""The most of the likeliest tokens that are told, as in OpenAI's API."""


@dataclass(frozen=True)
class Settings:
    """What a team does, but for its model, task and workers.

    Attributes:
        layout: the name of the layout, for the record.
        budget: passes, whatever the number of workers.
        seed: of all random numbers; the same seed gives the same tokens.
        prompt: a packaged prompt set or a folder.
        answer: the form of the final answer: ``text``, ``boxed``, ``number`` or ``code``. A finished step that holds
            an answer of one of the last three ends the run.
        answer_tokens: the most tokens that the finisher writes; by default 256, 64, 16 or 1,024 by form, and 512
            with a schema.
        on_full: what to do before a view outgrows the model: ``stop``, or ``drop`` the oldest steps.
        snapshots: budgets, in passes, at which the finisher is asked without stopping.
        check_every: tokens, summed over workers, between two questions about redundant work; 0 for none.
        drafts: the most tokens that a worker guesses in a pass, from what was written before; those that it would have
            written are, and so it may write several in a pass. 0 guesses none.
        share_prompts: what another team's prompt began with in the same way, token by token, is not read again. Without
            it, the time to the first token does not tell whether anybody has asked the same before.
        logprobs: tell the log-probability of every written token, and so many of the likeliest ones (0 to 20).
        schema: a JSON schema that the answer follows: what the finisher writes, or all that one worker alone writes.
            It is one line of JSON, and the turn ends with it; a budget or a stop text may cut it off.
        tools: what the workers may call, in the format of the model's chat template. Who has called waits for the
            result, and the others write on.
        may_end: workers may end their turn when they have nothing more to write, as those with parts of their own may.
            For models that were trained to (docs/training.md): others end it when they please.
        in_turn: of several workers that would begin a step in the same pass one does, and the next a pass later: so
            everyone sees what the one before has begun with.
        tool_seconds: how long a tool may take; then its result says that it was too long.
        one_by_one: parts are not dealt out at once: each worker is handed one, and when it ends its turn the next that
            is left. A part is a step. One worker alone has all parts in its prompt, with this or without.
        raw: the task is the whole prompt as it is, with no chat around it; for one worker with no role of its own.
    """

    layout: str = "combined"
    budget: int = 512
    seed: int = 0
    prompt: str | Path = "default"
    answer: str = "text"
    answer_tokens: int | None = None
    on_full: str = "stop"
    snapshots: Sequence[int] = ()
    check_every: int = 1024
    drafts: int = 0
    share_prompts: bool = True
    one_by_one: bool = False
    raw: bool = False
    may_end: bool = False
    in_turn: bool = False
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Tool] = ()
    tool_seconds: float = 60.0

    def __post_init__(self) -> None:
        _at_least("budget", self.budget, 1)
        _at_least("seed", self.seed, 0)
        _at_least("check_every", self.check_every, 0)
        _at_least("drafts", self.drafts, 0)
        _one_of("answer", self.answer, list(ANSWER_TOKENS))
        _one_of("on_full", self.on_full, ON_FULL)
        if self.answer_tokens is not None:
            _at_least("answer_tokens", self.answer_tokens, 1)
        self._check_extras()
        for name in ("share_prompts", "one_by_one", "may_end", "in_turn"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} is {getattr(self, name)!r}: give True or False")
        if not isinstance(self.snapshots, (tuple, list)):
            raise OptionError(f"snapshots is {self.snapshots!r}: give a tuple of budgets, in passes")
        for budget in self.snapshots:
            _at_least("snapshots", budget, 1)
        if self.raw and (self.answer, self.prompt) != ("text", "default"):
            raise OptionError("raw=True writes on from a prompt as it is: leave answer and prompt as they are")
        if not isinstance(self.prompt, (str, Path)):
            raise OptionError(f"prompt is {self.prompt!r}: give the name of a prompt set or a folder")

    def _check_extras(self) -> None:
        """Log-probabilities, schema and tools."""
        if self.logprobs is not None:
            _at_least("logprobs", self.logprobs, 0)
            if self.logprobs > MOST_LOGPROBS:
                raise OptionError(f"logprobs is {self.logprobs}: give at most {MOST_LOGPROBS}")
        if self.schema is not None and not isinstance(self.schema, Mapping):
            raise OptionError(f"schema is {self.schema!r}: give a JSON schema as a dict")
        if self.schema is not None and self.answer != "text":
            raise OptionError(f"answer is {self.answer!r}, but with a schema it is JSON: leave answer as it is")
        check_tools(self.tools)
        if self.tools and (self.raw or self.schema is not None):
            raise OptionError("tools need a chat and free text: leave raw and schema out, or tools")
        if not isinstance(self.tool_seconds, (int, float)) or not 0 < self.tool_seconds < math.inf:
            raise OptionError(f"tool_seconds is {self.tool_seconds!r}: give a number above 0")

    @property
    def longest_answer(self) -> int:
        """The most tokens that the finisher writes."""
        return self.answer_tokens or (ANSWER_TOKENS[self.answer] if self.schema is None else SCHEMA_TOKENS)

    def longest_item(self, items: int) -> int:
        """The most tokens of one answer, where the finisher asks for several."""
        return max(ITEM_TOKENS, -(-self.longest_answer // items))

    def as_dict(self) -> dict[str, Any]:
        """For a trace: as JSON has it."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["tools"] = [tool.definition() for tool in self.tools]
        return plain | {"prompt": str(self.prompt), "snapshots": list(self.snapshots)}


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(f"{name} is {value!r}: give a whole number of {least} or more")


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise OptionError(f"{name} is {value!r}: give one of {', '.join(choices)}")


def make_settings(**options: Any) -> Settings:
    """Settings from keyword arguments. Raises `OptionError` for a name that is no setting."""
    known = [field.name for field in fields(Settings)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(f"{unknown[0]} is no option of a team: known are {', '.join(known)}")
    return Settings(**options)
