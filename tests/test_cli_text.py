"""Text for a terminal, and the sentences that the views share."""

from __future__ import annotations

import io
import json
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_story import parse, story
from hogwild.cli import text, words
from hogwild.cli.plain import JsonView, PlainView, QuietView
from hogwild.team import events as ev

ANY_TEXT = st.text(st.characters(), max_size=60)  # surrogates and control characters too


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain [b]text[/b]", "plain [b]text[/b]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07body", "body"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1bcreset", "reset"),
        ("a\x1b", "a"),
        ("one\r\ntwo\rthree\u2028four\x0bfive", "one\ntwo\nthree\nfour\nfive"),
        ("tab\tstop", "tab    stop"),
        ("bell\a back\b null\0", "bell back null"),
        ("left\u202eright", "leftright"),
        ("half \ud83d", "half \ufffd"),
        ("emoji 👩\u200d🔬 stays", "emoji 👩\u200d🔬 stays"),
    ],
)
def test_clean_leaves_nothing_that_a_terminal_obeys(raw: str, shown: str) -> None:
    assert text.clean(raw) == shown


@given(ANY_TEXT)
def test_clean_text_is_printable_and_stays_as_it_is(raw: str) -> None:
    shown = text.clean(raw)
    assert all(unicodedata.category(c) not in ("Cc", "Cs") for c in shown if c != "\n")
    assert text.clean(shown) == shown
    shown.encode()
    assert "\n" not in text.one_line(raw)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        ("Alice [2]: so it is", "so it is"),
        ("\n\n**Alice [2]:** so it is\n", "so it is"),
        ("Alice (A): 3. so it is", "3. so it is"),
        ("Alice [3]: not my number", "Alice [3]: not my number"),
        ("no label, but Alice [2]: inside", "no label, but Alice [2]: inside"),
        ("Alice [2]: ", ""),
        ("Alice [2]:", ""),
    ],
)
def test_a_steps_own_label_is_not_shown_twice(raw: str, body: str) -> None:
    assert words.step_body("Alice", 2, raw) == body


def test_counts_and_sizes() -> None:
    assert [text.plural(n, "step") for n in (0, 1, 1024)] == ["0 steps", "1 step", "1,024 steps"]
    assert [text.passes(n) for n in (1, 2000)] == ["1 pass", "2,000 passes"]
    assert [text.size(n) for n in (999, 1000, 98_362_432, 3_090_000_000)] == ["999 B", "1.0 KB", "98.4 MB", "3.1 GB"]
    assert text.rate(10, 0) == 0.0


def test_summary_tells_passes_tokens_speeds_and_prefill() -> None:
    done = story()[-1]
    assert isinstance(done, ev.Finished)
    assert words.summary(done) == (
        "36 passes · 72 tokens · 20.0 tokens/s (Alice 10.0, Bob 10.0) · prefill 630 tokens in 1.0 s"
    )


def test_notices_are_single_lines_whatever_is_in_them() -> None:
    evil = "a\n\x1b[2Jb"
    told: list[ev.Event] = [
        ev.Planned(pass_=0, time=0, parts={evil: [evil], "Bob": []}),
        ev.WorkerLeft(pass_=0, time=0, worker=evil, reason=evil),
        ev.AnswerFound(pass_=0, time=0, worker="Bob", step=1, answer=evil),
        ev.Snapshot(pass_=0, time=0, budget=1, answer=None, text=evil),
        ev.BudgetReached(pass_=0, time=0, reason=evil),
    ]
    lines = [line for event in told for line in words.notices(event)]
    assert len(lines) == 6
    assert lines[1] == "Bob does: nothing"
    assert not any(set("\n\x1b") & set(line) for line in lines)


def shown(view: type[PlainView | QuietView | JsonView], events: list[ev.Event]) -> str:
    out = io.StringIO()
    shower = view(out)
    for event in events:
        shower.show(event)
    shower.close()
    return out.getvalue()


def test_plain_lines() -> None:
    lines = shown(PlainView, story(words=3)).splitlines()
    assert lines[0] == "-- tiny · combined · 2 workers (Alice, Bob) · budget 9 passes"
    assert lines[1] == "-- Alice does: say [bold]hello; count"
    assert lines[2] == "-- the prompt is read: 630 tokens"
    assert lines[3].startswith("Alice [1]: cat and about")
    assert "You says: hurry" in lines
    assert "    up" in lines
    assert lines[-2] == "answer: It is 408."
    assert lines[-1].startswith("-- 9 passes · 18 tokens")


def test_quiet_is_the_answer_alone() -> None:
    assert shown(QuietView, story()) == "It is 408.\n"


def test_json_lines_are_the_events() -> None:
    events = story()
    assert parse(shown(JsonView, events)) == events
    half = ev.Token(pass_=1, time=0, worker="Bob", step=1, token=5, text="\ud83d")
    assert json.loads(shown(JsonView, [half]))["text"] == "\ufffd"


def test_every_kind_of_event_is_in_the_story() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(ev.Event)[0])}
    assert kinds == {event.kind for event in story()}
