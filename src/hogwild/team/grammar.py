"""A JSON schema that a text must follow: which tokens may come next, by llguidance.

The text is one line of JSON as Python's ``json.dumps`` writes it, with a space behind each comma and colon: a small
model that may write any white space sometimes writes nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hogwild.errors import OptionError
from hogwild.team.text import Codec

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WHITE_SPACE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Schema:
    """A JSON schema over the tokens of one model. ``text`` is the schema as JSON.

    Raises:
        OptionError: the schema is none, holds what llguidance cannot do, or nothing can follow it; llguidance is not
            installed, or cannot read the tokenizer.
    """

    def __init__(self, codec: Codec, vocab_size: int, schema: Mapping[str, Any]) -> None:
        try:
            from llguidance import LLMatcher
        except ImportError:
            raise OptionError("schema needs llguidance: pip install 'hogwild[serve]'") from None
        try:
            self.text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise OptionError(f"schema is no JSON: {error}") from None
        self._vocab_size = vocab_size
        ends = [token for token in codec.end_ids if token < len(codec.tokenizer)]
        # llguidance wants an end. A model without one gets the last token for it, and never writes that.
        self._no_end = None if ends else len(codec.tokenizer) - 1
        self._tokenizer = _tokenizer(codec.tokenizer, vocab_size, tuple(ends) or (len(codec.tokenizer) - 1,))
        try:
            self._grammar = LLMatcher.grammar_from_json_schema(self.text, overrides=WHITE_SPACE)  # type: ignore[arg-type]
        except ValueError as error:  # nested too deeply
            raise OptionError(f"schema cannot be followed: {' '.join(str(error).split())}") from None
        is_wrong, problems = LLMatcher.validate_grammar_with_warnings(self._grammar, self._tokenizer)
        if is_wrong:
            raise OptionError(f"schema cannot be followed: {' '.join(problems[0].split())}")

    def begin(self) -> Grammar:
        """For a text that begins now."""
        from llguidance import LLMatcher

        return Grammar(LLMatcher(self._tokenizer, self._grammar, log_level=0), self._vocab_size, self._no_end)


class Grammar:
    """Follows one text, token by token."""

    def __init__(self, matcher: LLMatcher, vocab_size: int, no_end: int | None) -> None:
        self._matcher = matcher
        self._no_end = no_end
        self._vocab_size = vocab_size

    @property
    def done(self) -> bool:
        """Whether nothing may follow but the end."""
        return self._matcher.is_stopped()

    def allowed(self) -> Tensor:
        """The tokens that may come next, bool [vocab] on the CPU; those that end a turn where the text is complete."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.zeros(self._vocab_size, dtype=np.bool_)
        known = np.unpackbits(bits, bitorder="little")[: self._vocab_size]
        mask[: len(known)] = known
        if self._no_end is not None:
            mask[self._no_end] = False
        return torch.from_numpy(mask)

    def push(self, token: int) -> None:
        """The text goes on with a token that `allowed` has allowed.

        Raises:
            OptionError: the schema is too much work for llguidance, which shows only here.
        """
        if not self._matcher.consume_token(token):
            reason = self._matcher.get_error().splitlines()[0]
            raise OptionError(f"schema is too large to be followed, make it smaller: {reason}")


@lru_cache(maxsize=4)
def _tokenizer(tokenizer: Any, vocab_size: int, ends: tuple[int, ...]) -> LLTokenizer:
    """A model's tokenizer as llguidance has it; reading 150,000 tokens takes seconds, so it is kept."""
    from llguidance.hf import from_tokenizer

    try:
        return from_tokenizer(tokenizer, n_vocab=max(vocab_size, len(tokenizer)), eos_token=list(ends))
    except Exception as error:  # whatever it does not know of a tokenizer
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OptionError(f"schema needs a tokenizer that llguidance can read: {reason}") from error
