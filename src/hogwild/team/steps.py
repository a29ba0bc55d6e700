"""Where a worker's step ends. Text only: no tensors and no tokenizer here."""

from __future__ import annotations

import re
import unicodedata

from hogwild.team.markdown import split_code

SENTENCE_ENDS = frozenset(
    ".?!…‼⁇⁈⁉‽⸮"  # Latin, Greek, Cyrillic, Hebrew, Korean
    "。．｡！？︒︕︖﹒﹖﹗"  # Chinese, Japanese
    "؟۔؞܀܁܂߹"  # Arabic, Urdu, Syriac, N'Ko
    "।॥᱾᱿꣎꣏"  # Devanagari and what shares its danda
    "։՜՞።፧፨᙮᠃᠉"  # Armenian, Ethiopic, Canadian, Mongolian
    "၊။។៕།༎᪨᪩᭚᭛꧈꧉꩝꩞꩟꯫"  # Myanmar, Khmer, Tibetan, and others of South-East Asia
)
"""What ends a sentence, in many scripts. A colon announces more, so it does not."""

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_DISPLAY_MATH = re.compile(r"(?<!\\)\$\$")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)")

# What may follow a sentence's end: brackets and quotes of any script, emoji, emphasis, code marks, TeX's \) and $.
_CLOSING_CATEGORIES = frozenset(("Pe", "Pf", "Pi", "So", "Sk"))
_CLOSING_MARKS = frozenset("\"'*_~`$\\\ufe0f\u200d")


def ends_step(before: str, token_text: str) -> bool:
    """Whether the step ``before`` ends with the token that reads ``token_text``.

    It does when the token holds or completes a blank line, the text up to there ends a sentence, and no code fence and
    no ``$$`` is open in it. A blank line may hold spaces, stand anywhere in the token, or begin in earlier tokens.

    Args:
        before: the step so far, without this token. A prefix put in the worker's mouth may be part of it.
        token_text: what became readable by this token; may be empty.
    """
    if "\n" not in token_text:
        return False
    text = before + token_text
    for gap in _BLANK_LINE.finditer(text, len(before.rstrip())):
        if gap.end() > len(before):
            step = text[: gap.start()]
            if ends_sentence(step) and not has_open_markup(step):
                return True
    return False


def ends_sentence(text: str) -> bool:
    """Whether ``text`` ends in a sentence's last sign, with nothing after it but closing signs and white space.

    The end of a code block is not the end of a sentence, whatever the code ends with.
    """
    end = len(text)
    while end and _is_closing(text[end - 1]):
        end -= 1
    closing = text[end:]
    return end > 0 and text[end - 1] in SENTENCE_ENDS and "```" not in closing and "~~~" not in closing


def has_open_markup(text: str) -> bool:
    """Whether a code fence or a ``$$`` of ``text`` still waits for its other half."""
    blocks, prose = split_code(text)
    if blocks and not blocks[-1].closed:
        return True
    return len(_DISPLAY_MATH.findall(_CODE_SPAN.sub("", prose))) % 2 == 1


def _is_closing(sign: str) -> bool:
    return sign.isspace() or sign in _CLOSING_MARKS or unicodedata.category(sign) in _CLOSING_CATEGORIES
