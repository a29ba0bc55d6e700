"""A step ends at a blank line after a sentence, outside of code and formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild.team.markdown import split_code
from hogwild.team.steps import ends_sentence, ends_step, has_open_markup


@pytest.mark.parametrize(
    ("before", "token"),
    [
        ("It is done", ".\n\n"),
        ("It is done.", "\n\n"),
        ("It is done.", " \n\n"),
        ("It is done.", "\n \t\n"),
        ("It is done.", "\n\n\n"),
        ("It is done.", "\r\n\r\n"),
        ("It is done.\n", "\n"),
        ("It is done.\n", " \n"),
        ("It is done.\n ", "\n"),
        ("It is done.\n  ", "  \nAnd"),
        ("It is done. ", "\n\n"),
        ("It is done.\r\n", "\r\n"),
        ("It is", " done.\n\nNext"),
        ("It has parts:", "\n\nOne.\n\nTwo"),
        ("It has parts:\n\nThis is one", ".\n\n"),
        ("", "Done.\n\n"),
    ],
)
def test_a_blank_line_ends_a_step_however_tokens_cut_it(before: str, token: str) -> None:
    assert ends_step(before, token)


@pytest.mark.parametrize(
    ("before", "token"),
    [
        ("It is done", "."),
        ("It is done", ".\n"),
        ("It is done.", "\n"),
        ("It is done.", ""),
        ("It is done.\n", "And"),
        ("It is done.\n", " "),
        ("It is done.\n", "And\n"),
        ("It is done", "\n\n"),
        ("It has parts:", "\n\n"),
        ("It has parts:\n", "\n"),
        ("It has parts,", "\n\n"),
        ("It has parts;", "\n\n"),
        ("", "\n\n"),
        ("", "\n"),
        ("\n", "\n"),
        ("# A heading", "\n\n"),
        ("Is it 3.5", "\n\n"),
    ],
)
def test_anything_else_does_not(before: str, token: str) -> None:
    assert not ends_step(before, token)


@given(st.text("a. \n:", max_size=12), st.integers(0, 12))
def test_it_does_not_matter_where_tokens_are_cut(text: str, cut: int) -> None:
    first = next((end for end in range(len(text) + 1) if ends_step(text[:end][:-1], text[:end][-1:])), None)
    before, token = text[:cut], text[cut:]
    if first is not None and cut < first:
        assert ends_step(before, token)
    if first is None:
        assert not ends_step(before, token)


@pytest.mark.parametrize(
    "end", [".", "?", "!", "...", "…", "?!", "‽", "。", "．", "！", "？", "؟", "۔", "।", "॥", "։", "።", "။", "។", "།"]
)
def test_a_sentence_ends_in_many_scripts(end: str) -> None:
    assert ends_step("word" + end, "\n\n")


@pytest.mark.parametrize(
    "text",
    [
        "**Done.**",
        "*Done.*",
        "__Done!__",
        '"Done."',
        "“Done.”",
        "„Fertig.“",
        "« Fini. »",
        "「終わり。」",
        "『終わり。』",
        "(Done.)",
        "(Done).",
        "(Done.]}",
        "'Done?'",
        "`done.`",
        "Run `done`.",
        "Done. 🎉",
        "Done! ✅",
        "Done! ❤️",
        "Well done.  \n",
        r"\( x = 5. \)",
        r"\[ x = 5. \]",
        "$$x = 5.$$",
        "$$\nx = 5.\n$$",
    ],
)
def test_signs_may_close_after_the_end(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "**",
        "done",
        "done:",
        "**Note:**",
        "done,",
        "1. first",
        "3.5",
        "(see below)",
        "$x$",
        "```\nDone.\n```",
        "~~~\nDone.\n~~~",
    ],
)
def test_other_text_ends_no_sentence(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    "text",
    [
        "```\nDone.",
        "```python\n# Done.",
        "````\n```\nDone.",
        "~~~\n```\nDone.",
        "~~~~\n~~~\nDone.",
        "```\n~~~\nDone.",
        "```\nx ``` Done.",
        "```\n``` x\nDone.",
        "   ```\nDone.",
        "- ```py\n  Done.",
        "> ```\n> Done.",
        "Here: ```python\nDone.",
        "```a\n```\n```b\nDone.",
        "$$ x = 1.",
        "$$x$$ and $$ y.",
        "```\n$$\n```\n$$ y.",
    ],
)
def test_a_step_does_not_end_inside(text: str) -> None:
    assert has_open_markup(text)
    assert ends_sentence(text)
    assert not ends_step(text, "\n\n")


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```\nDone.",
        "```python\nx\n```  \nDone.",
        "```\nx\n`````\nDone.",
        "~~~ a b `c`\nx\n~~~\nDone.",
        "  ```\n  x\n  ```\nDone.",
        "> ```\n> x\n> ```\nDone.",
        "Here: ```python\nx\n```\nDone.",
        "```one line``` Done.",
        "Use ```x``` and ```y```.",
        "The mark ``` opens a block.",
        "Strike ~~this~~, ~~~ and that.",
        "$$x = 1$$ is done.",
        "$$\nx = 1\n$$\nDone.",
        "It costs \\$\\$ or $5.",
        "The shell's `$$` is a number.",
        "```\necho $$\n```\nDone.",
        "An odd ` tick.",
    ],
)
def test_a_step_ends_after(text: str) -> None:
    assert not has_open_markup(text)
    assert ends_step(text, "\n\n")


def test_code_and_prose_come_apart() -> None:
    blocks, prose = split_code("a\n  ```python x\n  b\n\n   c\n d\n  ```\ne: ```\nf")
    assert [(block.language, block.code, block.closed) for block in blocks] == [
        ("python", "b\n\n c\nd", True),
        ("", "f", False),
    ]
    assert prose == "a\n  \ne: "


@given(st.lists(st.sampled_from(["```", "~~~~", "`", "\n", "\n\n", " ", "x.", "$$", "> "]), max_size=20).map("".join))
def test_no_text_makes_it_fail(text: str) -> None:
    blocks, _ = split_code(text)
    assert all(block.closed for block in blocks[:-1])
    assert ends_step(text, "\n\n") in (True, False)
