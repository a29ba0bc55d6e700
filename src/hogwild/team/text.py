"""The edge between text and tokens: chat turns, thinking markers, forbidden tokens, readable pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hogwild.errors import ModelUnsupported

HEADER = "###"
"""Begins every section header of the packaged prompts; workers cannot write it."""


@dataclass(frozen=True)
class Turns:
    """What stands between the turns of a chat, as the model's own chat template writes it."""

    user: str  # closes the assistant's turn and opens the user's
    assistant: str  # closes the user's turn and opens the assistant's


class Codec:
    """A tokenizer, and what a team needs to know of it.

    Attributes: ``turns``; ``thinking``, the markers that open and close a model's thoughts, or two empty strings;
    ``end_ids``, the tokens that end a turn; ``forbidden_ids``, the tokens that a worker must not write.
    """

    def __init__(self, tokenizer: Any, vocab_size: int, end_ids: list[int]) -> None:
        if tokenizer is None:
            raise ModelUnsupported("this engine has no tokenizer: pass tokenizer= to Engine.load")
        self.tokenizer = tokenizer
        self.turns = self._find_turns()
        self.thinking = self._find_thinking()
        self.end_ids = sorted({i for i in [*end_ids, tokenizer.eos_token_id] if i is not None and i < vocab_size})
        self._special = sorted(
            {str(token) for token in tokenizer.get_added_vocab()} | set(tokenizer.all_special_tokens),
            key=len,
            reverse=True,
        )
        vocabulary = {token: i for token, i in tokenizer.get_vocab().items() if i < vocab_size}
        special = {i for token, i in tokenizer.get_added_vocab().items() if i < vocab_size and token.strip()}
        special |= {i for i in tokenizer.all_special_ids if i < vocab_size}
        unused = set(range(vocab_size)) - set(vocabulary.values())  # rows of a padded embedding
        forged = {i for token, i in vocabulary.items() if HEADER in token}
        self.forbidden_ids = sorted(special | unused | forged | set(self.end_ids))
        self.hash_ids = sorted(i for token, i in vocabulary.items() if token.startswith("#"))

    def encode(self, text: str) -> list[int]:
        """Tokens of a piece of prompt. Chat markers in it become the model's own special tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Readable text of some tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def harmless(self, text: str) -> str:
        """A person's text with every chat marker broken up, so that it cannot forge a turn."""
        for marker in self._special:
            if len(marker) > 1:
                text = text.replace(marker, f"{marker[0]} {marker[1:]}")
        return text

    def chat(self, user: str) -> str:
        """A prompt up to the point where the assistant begins to write, thinking marker included."""
        if not self.tokenizer.chat_template:
            return f"{self.tokenizer.bos_token or ''}User: {user}{self.turns.assistant}"
        messages = [{"role": "user", "content": user}]
        prompt: str = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        opening = self.thinking[0]
        return prompt if not opening or prompt.rstrip().endswith(opening) else f"{prompt}{opening}\n"

    def _find_turns(self) -> Turns:
        if not self.tokenizer.chat_template:
            return Turns("\n\nUser: ", "\n\nAssistant: ")
        messages = [
            {"role": "user", "content": "@first@"},
            {"role": "assistant", "content": "@second@"},
            {"role": "user", "content": "@third@"},
        ]
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        _, _, after_answer = text.partition("@second@")
        user, _, assistant = after_answer.partition("@third@")
        return Turns(user, assistant)

    def _find_thinking(self) -> tuple[str, str]:
        known = self.tokenizer.get_added_vocab()
        return ("<think>", "</think>") if "<think>" in known and "</think>" in known else ("", "")


@dataclass
class Reader:
    """Turns a stream of tokens into text, a piece a token; holds back bytes that are no character yet."""

    codec: Codec
    _ids: list[int] = field(default_factory=list)
    _shown: int = 0  # tokens whose text has been given out
    _context: int = 0  # the first token that decoding still needs

    def push(self, token: int) -> str:
        """The text that became readable by one more token, perhaps none."""
        self._ids.append(token)
        before = self.codec.decode(self._ids[self._context : self._shown])
        now = self.codec.decode(self._ids[self._context :])
        if now.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return now[len(before) :]


def end_ids(generation_config: Any) -> list[int]:
    """The tokens that end a turn, as the model's generation config has them."""
    ids = getattr(generation_config, "eos_token_id", None)
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [int(ids)]
