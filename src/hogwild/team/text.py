"""The edge between text and tokens: chat turns, thinking markers, forbidden tokens, readable pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from hogwild.errors import ModelUnsupported

HEADER = "###"
"""Begins every section header of the packaged prompts; workers cannot write it."""

THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>"))
"""Markers that open and close a model's thoughts."""

MAX_BYTES = 4
"""A character has no more bytes than that: as many tokens that are none stay none."""

Message = Mapping[str, Any]
"""One turn of a chat, as chat templates take it: its ``role``, its ``content`` and perhaps more."""


@dataclass(frozen=True)
class Turns:
    """What stands between the turns of a chat, as the model's own chat template writes it."""

    user: str  # closes the assistant's turn and opens the user's
    assistant: str  # closes the user's turn and opens the assistant's


PLAIN_TURNS = Turns("\n\nUser: ", "\n\nAssistant: ")
"""For a model without a chat template, or with one that does not show what it is told."""


class Codec:
    """A tokenizer, and what a team needs to know of it.

    Attributes: ``turns``; ``thinking``, the markers that open and close a model's thoughts, or two empty strings;
    ``end_ids``, the tokens that end a turn; ``forbidden_ids``, the tokens that a worker must not write; ``hash_ids``,
    those that it must not write after hashes, as they could complete a header.
    """

    def __init__(self, tokenizer: Any, vocab_size: int, end_ids: list[int]) -> None:
        if tokenizer is None:
            raise ModelUnsupported("this engine has no tokenizer: pass tokenizer= to Engine.load")
        self.tokenizer = tokenizer
        self.turns = self._find_turns()
        self.thinking = self._find_thinking()
        self._ends = end_ids
        self.end_ids = sorted({i for i in [*end_ids, tokenizer.eos_token_id] if i is not None and i < vocab_size})
        markers = self._find_markers()
        self._marker_ids = set(tokenizer.convert_tokens_to_ids(markers)) - {tokenizer.unk_token_id}
        self._marker = re.compile("|".join(map(re.escape, markers)) or "(?!)")
        vocabulary = {token: i for token, i in tokenizer.get_vocab().items() if i < vocab_size}
        special = {i for token, i in tokenizer.get_added_vocab().items() if i < vocab_size and token.strip()}
        special |= {i for i in tokenizer.all_special_ids if i < vocab_size}
        unused = set(range(vocab_size)) - set(vocabulary.values())  # rows of a padded embedding
        forged = {i for token, i in vocabulary.items() if HEADER in token}
        self.forbidden_ids = sorted(special | unused | forged | set(self.end_ids))
        self.hash_ids = sorted(i for token, i in vocabulary.items() if token.startswith(("#", "<0x23>")))

    def knows_ends(self, end_ids: list[int]) -> bool:
        """Whether it was made for these."""
        return self._ends == end_ids

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """Tokens of a piece of prompt. Chat markers in it become the model's own special tokens.

        A ``whole`` prompt gets what the tokenizer puts around every text, such as a token that begins it.
        """
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=whole)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Readable text of some tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def harmless(self, text: str) -> str:
        """A person's text with every chat marker broken up, so that it cannot forge a turn."""
        text = self._marker.sub(lambda marker: f"{marker[0][0]} {marker[0][1:]}", clean(text))
        # A tokenizer that normalises text may find markers in other letters: those are left out.
        while self._marker_ids & set(ids := self.encode(text)):
            text = self.decode([i for i in ids if i not in self._marker_ids])
        return text

    def chat(
        self,
        user: str,
        before: Sequence[Message] = (),
        after: Sequence[Message] = (),
        tools: Sequence[Message] = (),
    ) -> str:
        """A prompt up to the point where the assistant begins to write.

        ``before`` and ``after`` are what stands around the user's message, ``tools`` what may be called. A template
        that has no place for a system message finds it at the beginning of the first one from the user.
        """
        messages = [*before, {"role": "user", "content": user}, *after]
        if not self.tokenizer.chat_template:
            return self._plain_chat(messages)
        if messages[0]["role"] == "system" and not self._takes_system():
            system, *messages = messages
            place = next(place for place, one in enumerate(messages) if one["role"] == "user")
            asked = {"role": "user", "content": f"{system['content']}\n\n{messages[place]['content']}"}
            messages = [*messages[:place], asked, *messages[place + 1 :]]
        return self.render(messages, tools)

    def _plain_chat(self, messages: Sequence[Message]) -> str:
        """A chat for a model without a template: each message behind the name of its role."""
        texts = [f"{one['role'].capitalize()}: {one['content']}" for one in messages]
        return (self.tokenizer.bos_token or "") + "\n\n".join(texts) + self.turns.assistant

    def _takes_system(self) -> bool:
        try:
            return "@system@" in self.render(
                [{"role": "system", "content": "@system@"}, {"role": "user", "content": "?"}]
            )
        except ModelUnsupported:
            return False

    def open_thoughts(self, prompt: str) -> str:
        """The prompt with the marker behind it that opens the model's thoughts, if it has any."""
        opening = self.thinking[0]
        return prompt if not opening or prompt.rstrip().endswith(opening) else f"{prompt}{opening}\n"

    def skip_thoughts(self, prompt: str) -> str:
        """The prompt with empty thoughts behind it, so that the model answers at once."""
        closing = self.thinking[1]
        return f"{self.open_thoughts(prompt)}\n{closing}\n\n" if closing else prompt

    def render(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """What the chat template makes of a conversation. Raises `ModelUnsupported` where it fails."""
        try:
            return self._apply(messages, tools)
        except Exception as error:  # whatever the template of a stranger raises
            with suppress(Exception):  # some take the arguments of calls as text
                return self._apply([_with_text_arguments(message) for message in messages], tools)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelUnsupported(f"the model's chat template fails on a conversation: {reason}") from error

    def _apply(self, messages: Sequence[Message], tools: Sequence[Message]) -> str:
        given = [dict(message) for message in messages]
        shown = [dict(tool) for tool in tools] or None
        text: str = self.tokenizer.apply_chat_template(given, tools=shown, add_generation_prompt=True, tokenize=False)
        return text

    def _find_turns(self) -> Turns:
        if not self.tokenizer.chat_template:
            return PLAIN_TURNS
        messages = [
            {"role": "user", "content": "@first@"},
            {"role": "assistant", "content": "@second@"},
            {"role": "user", "content": "@third@"},
        ]
        text = self.render(messages)
        _, _, after_answer = text.partition("@second@")
        user, _, assistant = after_answer.partition("@third@")
        return Turns(user, assistant) if user and assistant else PLAIN_TURNS

    def _find_thinking(self) -> tuple[str, str]:
        """A model thinks when its chat template knows of thoughts and does not skip them by itself."""
        known, template = self.tokenizer.get_added_vocab(), str(self.tokenizer.chat_template)
        for opening, closing in THINKING:
            if {opening, closing} <= set(known) and closing in template:
                return ("", "") if self.chat("?").rstrip().endswith(closing) else (opening, closing)
        return "", ""

    def _find_markers(self) -> list[str]:
        """Special tokens, and what else of the added ones makes up chats. The longest comes first."""
        tokenizer, template = self.tokenizer, str(self.tokenizer.chat_template)
        declared = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in tokenizer.all_special_tokens}
        special |= {token.content for token in declared if token.special}
        added = {token for token in tokenizer.get_added_vocab() if token in template or token in self.thinking}
        return sorted((token for token in special | added if len(token.strip()) > 1), key=len, reverse=True)


@dataclass
class Reader:
    """Turns a stream of tokens into text, a piece a token; holds back bytes that are no character yet."""

    codec: Codec
    before: InitVar[Sequence[int]] = ()  # tokens that stand before the stream
    _ids: list[int] = field(default_factory=list)
    _shown: int = 0  # tokens whose text has been given out
    _context: int = 0  # the first token that decoding still needs

    def __post_init__(self, before: Sequence[int]) -> None:
        self._ids = list(before)
        self._shown = len(self._ids)

    def push(self, token: int) -> str:
        """The text that became readable by one more token, perhaps none."""
        self._ids.append(token)
        before = self.codec.decode(self._ids[self._context : self._shown])
        now = self.codec.decode(self._ids[self._context :])
        if now.endswith("\N{REPLACEMENT CHARACTER}") and len(self._ids) - self._shown < MAX_BYTES:
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return now[len(before) :]


def _with_text_arguments(message: Message) -> Message:
    """A message whose tool calls have their arguments as JSON in a text."""
    calls = [dict(call) for call in message.get("tool_calls", ())]
    for call in calls:
        arguments = call["function"]["arguments"]
        if not isinstance(arguments, str):
            call["function"] = call["function"] | {"arguments": json.dumps(arguments, ensure_ascii=False)}
    return {**message, "tool_calls": calls} if calls else message


def end_ids(generation_config: Any) -> list[int]:
    """The tokens that end a turn, as the model's generation config has them."""
    ids = getattr(generation_config, "eos_token_id", None)
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [int(ids)]


_codecs: WeakKeyDictionary[Any, Codec] = WeakKeyDictionary()


def codec_of(engine: Any) -> Codec:
    """The codec of an engine, made once: it takes a look at the whole vocabulary."""
    codec, ends = _codecs.get(engine), end_ids(engine.generation_config)
    if codec is None or codec.tokenizer is not engine.tokenizer or not codec.knows_ends(ends):
        codec = _codecs[engine] = Codec(engine.tokenizer, engine.vocab_size, ends)
    return codec


def is_text(text: str) -> bool:
    """Whether a string is valid Unicode: Python's may hold half a character, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str) -> str:
    """The text with what is no valid Unicode in it replaced."""
    return text.encode("utf-8", "replace").decode()
