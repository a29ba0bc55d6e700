"""The answer is found where there is one, and nowhere else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild.errors import OptionError
from hogwild.team.answer import boxed, find_answer
from hogwild.team.number import only_number


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"So \boxed{5}.", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{a_{1}}{b^{2}}}} is it", r"\sqrt{\frac{a_{1}}{b^{2}}}"),
        (r"\boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{1}, no: \boxed{2", "1"),
        (r"\boxed{1 and {2}", None),
        (r"\boxed{\boxed{7}}", "7"),
        (r"{a} } \boxed{3} {", "3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a \\{b}}", r"a \\{b}"),
        (r"\fbox{B}", "B"),
        (r"\boxed { 5 }", "5"),
        ("\\boxed{\n  5\n}", "5"),
        (r"\boxed 5", "5"),
        (r"$\boxed5$", "5"),
        (r"\boxed 1,234.", "1,234"),
        (r"\boxed C", "C"),
        (r"\\boxed{12}", "12"),  # a model that writes JSON
        (r"\boxed{}", ""),
        (r"put it in a \boxed form", None),
        (r"use \boxed to mark it", None),
        (r"\boxedx{5}", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_boxed(text: str, content: str | None) -> None:
    assert boxed(text) == content


pieces = st.lists(
    st.sampled_from(["\\boxed", "\\fbox", "{", "}", "\\{", "\\}", "\\", "5", "A", " ", "\n", "$", "x"]), max_size=20
)


@given(
    st.one_of(pieces.map("".join), st.text()), st.sampled_from(["boxed", "number", "code", "text"]), pieces.map("".join)
)
def test_no_text_makes_it_fail(text: str, form: str, task: str) -> None:
    answer = find_answer(text, form, task)
    assert answer is None or isinstance(answer, str)
    only_number(text)


balanced = st.recursive(
    st.text("ab1+ ", max_size=4),
    lambda inner: st.one_of(inner.map(lambda text: "{" + text + "}"), st.tuples(inner, inner).map("".join)),
)


@given(balanced, st.text("ab1 }\n", max_size=6), st.text("ab1 {\n", max_size=6))
def test_whatever_is_balanced_comes_back(content: str, before: str, after: str) -> None:
    assert boxed(before + r"\boxed{" + content + "}" + after) == content.strip()


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 20_000,
        "{" * 100_000,
        "the answer is " * 10_000,
        "The answer is " + "ab  " * 20_000,
        "\\boxed{" + "ab  " * 20_000 + "}",
        "\\boxed{-" + " " * 50_000 + "}",
        "\\boxed{5" + "*" * 50_000 + "1}",
        "\\boxed{" + "1" * 50_000 + "}",
        "\\boxed{1e" + "1" * 50_000 + "}",
        "\\boxed{1\\frac{1}{" + "1" * 50_000 + "}}",
        "\\boxed{" + "1 " * 50_000 + "}",
        "\\boxed{" + "a1, " * 20_000 + "}",
        "answer" + "\n" * 50_000,
        "#### " + "a " * 50_000,
        "```" * 30_000,
        "`" * 50_000 + "\n" + "`~" * 20_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    for form in ("boxed", "number", "code"):
        find_answer(text, form, text)
    assert time.process_time() - began < 3  # the quadratic ones took minutes


@pytest.mark.parametrize(
    "content",
    [
        "",
        " ",
        "...",
        "…",
        r"\ldots",
        "answer",
        "Your Answer",
        r"\text{your answer}",
        r"\text{final answer}",
        "?",
        "__",
        "<answer>",
        "[answer]",
        "a1, a2, a3",
        r"a_1, a_2, \ldots",
    ],
)
def test_a_placeholder_is_no_answer(content: str) -> None:
    text = rf"I must end with \boxed{{{content}}}."
    assert find_answer(text, "boxed") is None
    assert find_answer(r"It is \boxed{9}. " + text, "boxed") == "9"


@pytest.mark.parametrize("content", [r"\emptyset", r"\{\}", "[]", "()", "x", "0", "-", r"\text{no}"])
def test_short_answers_are_no_placeholders(content: str) -> None:
    assert find_answer(rf"\boxed{{{content}}}", "boxed") == content


TASK = r"""Find 2 + \boxed{3}. Write the answer as \boxed{a, b},
for example: the answer is \boxed{1, 2}."""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The task gives 2 + \boxed{3}, so", None),
        (r"I should write \boxed{a, b} or \boxed{1,  2}.", None),
        ("An example: the answer is\n\\boxed{1, 2}.", None),
        (r"As 2 + \boxed{3} = 5, I get \boxed{5}.", "5"),
        (r"I get \boxed{5}, and not the \boxed{3} of the task.", "5"),
        (r"So the final answer is \boxed{3}.", "3"),
        (r"**Final Answer:** $\boxed{3}$", "3"),
        (r"Time is up, so I give the final answer now: \boxed{1, 2}", "1, 2"),
        (r" $\boxed{3}$", "3"),
    ],
)
def test_a_box_quoted_from_the_task_is_no_answer(text: str, answer: str | None) -> None:
    assert find_answer(text, "boxed", TASK) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 12.", "12"),
        ("So the answer is: **12**", "12"),
        ("Answer: 12", "12"),
        ("**Answer:** $12$ apples", "12"),
        ("### Final Answer\n\n12\n", "12"),
        ("The answer to question 2 is therefore 5 apples.", "5"),
        ("the answer is approximately $1,234.50.", "1234.50"),
        ("The answer is -7", "-7"),
        ("The answer is −7 °C.", "-7"),
        ("The answer is 3/4.", "3/4"),
        (r"The answer is $-\dfrac{3}{4}$.", "-3/4"),
        (r"The answer is $\frac34$.", "3/4"),
        (r"The answer is $\frac1{20}$.", "1/20"),
        ("The answer is 1 1/2 cups.", "3/2"),
        (r"The answer is $-2\frac{1}{2}$.", "-5/2"),
        (r"\boxed{10,\!080}", "10080"),
        ("The answer is 0.25 (see step 2).", "0.25"),
        ("The answer is x = 3 + 4 = 7, because 2 < 3.", "7"),
        ("The answer is 12 because 3 * 4 = 12 and 5 > 2.", "12"),
        ("The answer is 12. I checked it 3 times.", "12"),
        ("The answer is 12. No, the answer is 13.", "13"),
        ("The answer is:\n\n\\[\n12\n\\]", "12"),
        ("48 / 2 = 24.\n#### 72", "72"),
        ("#### -1,000", "-1000"),
        ("#### $5.00", "5.00"),
        ("#### 12 apples", "12"),
        (r"Thus \boxed{42}", "42"),
        (r"Thus \boxed{x = 42 \text{ cm}^2}", "42"),
        (r"\boxed{10\%}", "10"),
        (r"\boxed{1{,}000{,}000}", "1000000"),
        (r"\boxed{1.5 \times 10^{3}}", "1.5e3"),
        (r"The answer is 3, so \boxed{4}", "4"),
        (r"\boxed{4}, no: the answer is 3.", "3"),
        # and where there is none:
        ("There are 12 apples.", None),
        ("What is the answer? I have 5 apples.", None),
        ("If the answer is 5, then 2 is left.", None),
        ("The answer is not 5.", None),
        ("The answer might be 5.", None),
        ("The answer is 3 + 4", None),
        ("The answer is blue.", None),
        ("The answers: 5", None),
        ("#### 1. Introduction", None),
        ("#### Step 2: add", None),
        (r"\boxed{2\sqrt{3}}", None),
        (r"\boxed{5\pi}", None),
        (r"\boxed{10^5}", None),
        (r"\boxed{1, 2}", None),
        (r"\boxed{5!}", None),
        (r"\boxed{answer}", None),
    ],
)
def test_numbers(text: str, answer: str | None) -> None:
    assert find_answer(text, "number") == answer


def test_a_number_quoted_from_the_task_is_no_answer() -> None:
    task = "Tom says: the answer is 5. Is he right? End with a line like\n#### 10"
    assert find_answer("Tom says: the answer\nis 5. Hm.", "number", task) is None
    assert find_answer("I end with\n#### 10", "number", task) is None
    assert find_answer("Tom is wrong: the answer is 6.", "number", task) == "6"


CODE = "Some text.\n```python\ndef f():\n\n    return 1\n```\nThen:\n~~~\nx = 2\n~~~\n"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (CODE, "x = 2"),
        (CODE + "```python\nnot finished", "x = 2"),
        ("```python\ndef f():\n\n    return 1\n```", "def f():\n\n    return 1"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```"),
        ("Here it is: ```python\nx = 1\n```\n", "x = 1"),
        ("1. First:\n   ```\n   a\n     b\n   ```", "a\n  b"),
        ("x `y` ```z```", None),
        ("```\n\n```", None),
        ("```\ncut off", None),
        ("no code", None),
    ],
)
def test_code(text: str, answer: str | None) -> None:
    assert find_answer(text, "code") == answer


def test_code_of_the_task_is_no_answer() -> None:
    task = "Complete this:\ndef f(x):\n    ..."
    assert find_answer("The task:\n```python\ndef f(x):\n    ...\n```", "code", task) is None
    assert find_answer("```python\ndef f(x):\n    return x\n```", "code", task) == "def f(x):\n    return x"


def test_free_text_is_never_final() -> None:
    assert find_answer(r"The answer is \boxed{5}. #### 5", "text") is None


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(OptionError, match="'json' is unknown: give one of text, boxed, number, code"):
        find_answer("5", "json")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Problem 1: \boxed{18}.", None),
        (r"So far it is \boxed{18, 3}.", None),
        (r"Problem 1: \boxed{18}. All of them: \boxed{18, 3, 70}.", "18, 3, 70"),
        (r"All of them: \boxed{18, 3, 70}. The last one is \boxed{70}.", "18, 3, 70"),
        (r"\boxed{18 \\ 3 \\ 70}", r"18 \\ 3 \\ 70"),
        (r"I write \boxed{a1, a2, a3}.", None),
    ],
)
def test_a_list_in_the_task_says_how_many_items_an_answer_has(text: str, answer: str | None) -> None:
    assert find_answer(text, "boxed", r"Give the answers as \boxed{a1, a2, a3}.") == answer
