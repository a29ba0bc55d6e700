"""The board is a fold over events; a frame fits any screen, whatever the model has written."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from cli_story import NAMES, story
from hogwild.cli.board import Board
from hogwild.cli.live import LiveView, print_transcript
from hogwild.cli.paint import Tail, ends, gauge
from hogwild.cli.screen import FEW, arrange, even, render
from hogwild.team import events as ev


def fold(events: Sequence[ev.Event]) -> Board:
    board = Board()
    for event in events:
        board.apply(event)
    return board


def frame(board: Board, width: int, height: int) -> list[str]:
    """The lines of a frame as a terminal of that size would get them, colours left out."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, color_system=None)
    console.print(render(board, width, height, hint="Ctrl-C: answer now"))
    return out.getvalue().removesuffix("\n").split("\n")


def test_the_fold_knows_workers_steps_tokens_and_times() -> None:
    events = story(workers=2, steps=2, words=5)
    board = fold([event for event in events if event.pass_ <= 7])
    alice = board.workers["Alice"]
    assert (alice.step, alice.tokens, alice.status) == (2, 7, "checking")
    assert board.steps == 2
    assert board.tokens == 14
    assert board.passes == 7
    assert board.prefilled == (630, 630)
    assert board.rate(alice.tokens) == pytest.approx(10.0)
    board = fold(events)
    assert board.finished is not None
    assert board.answer == "It is 408."
    assert board.dropped == 1
    assert board.workers["Zoe"].status == "left"
    assert [entry.text for entry in board.history if entry.kind == "said"] == ["hurry\nup"]


def test_a_trace_that_begins_in_the_middle_still_folds() -> None:
    board = fold(story()[20:40])
    assert set(board.workers) == {"Alice", "Bob"}
    assert frame(board, 80, 24)


def test_the_finished_event_has_the_last_word_on_tokens() -> None:
    events = story()
    assert fold(events[-1:]).tokens == 72


@pytest.mark.parametrize("workers", range(1, 17))
def test_every_frame_fits(workers: int) -> None:
    events = story(workers=workers, words=4)
    boards = [fold(events[:cut]) for cut in (0, 1, 3, len(events) // 2, len(events) - 2, len(events))]
    for width, height in ((40, 10), (40, 60), (63, 12), (80, 24), (121, 40), (220, 60)):
        for board in boards:
            lines = frame(board, width, height)
            assert len(lines) <= height
            assert all(cell_len(line) <= width for line in lines)
        assert lines[-1].startswith("12 passes")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_stand_side_by_side_at_80_columns(workers: int) -> None:
    lines = frame(fold(story(workers=workers)[:40]), 80, 24)
    [titles] = [line for line in lines if "Alice step" in line]
    assert all(f"{name} step" in titles for name in NAMES[:workers])


def test_every_worker_is_seen_at_80_by_24() -> None:
    seen = "\n".join(frame(fold(story(workers=16)[:300]), 80, 24))
    assert all(f"{name} step" in seen for name in NAMES)


def test_a_screen_too_small_for_boxes_says_who_is_left_out() -> None:
    lines = frame(fold(story(workers=16)[:300]), 40, 12)
    assert any(line.startswith("Alice [") for line in lines)
    assert any("more" in line for line in lines)


def test_the_newest_words_are_seen() -> None:
    texts = [f" w{number:04}" for number in range(1000)]
    events = [event for event in story(workers=1, steps=0, words=400, texts=texts) if isinstance(event, ev.Token)]
    seen = "\n".join(frame(fold(events), 80, 24))
    assert events[-1].text.strip() in seen
    assert events[0].text.strip() not in seen


def test_markup_and_escapes_of_a_model_are_text() -> None:
    texts = ["[bold red]", "\x1b[2J", "\x1b]0;pwned\x07", "[/]", "[link=http://x]", "\r", "\x9b31m"]
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system=None)
    board = fold(story(texts=texts)[:60])
    console.print(render(board, 80, 24))
    print_transcript(board, console)
    printed = out.getvalue()
    assert "[bold red]" in printed
    assert "pwned" not in printed
    assert not set("\x1b\r\x9b\x07") & set(printed)


EVIL = st.one_of(
    st.text(st.characters(), max_size=40),
    st.sampled_from(
        ["[/b]", "[red]", "\x1b[31m", "\x1b]0;x\x07", "\n\n\n", "漢字" * 30, "👩\u200d🔬", "x" * 300, "\u0301" * 50]
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(EVIL, min_size=1, max_size=6),
    workers=st.integers(1, 16),
    width=st.integers(1, 220),
    height=st.integers(1, 60),
    share=st.floats(0, 1),
)
def test_no_text_breaks_a_frame(texts: list[str], workers: int, width: int, height: int, share: float) -> None:
    events = story(workers=workers, words=3, texts=texts)
    board = fold(events[: round(share * len(events))])
    lines = frame(board, width, height)
    assert "\x1b" not in "".join(lines)
    if width >= 40 and height >= 8:
        assert len(lines) <= height
        assert all(cell_len(line) <= width for line in lines)


@given(st.integers(0, 16), st.integers(40, 220), st.integers(8, 100), st.integers(0, 500), st.integers(0, 500))
def test_the_lines_of_a_frame_add_up(workers: int, width: int, height: int, history: int, answer: int) -> None:
    sizes = arrange(workers, width, height, history, answer)
    assert sizes.header + sizes.history + sum(sizes.row_heights) + sizes.answer + 1 <= height
    assert sum(sizes.rows) in (0, workers)
    assert min(sizes.row_heights, default=0) >= (FEW if sizes.rows else 0)


@given(st.integers(0, 500), st.integers(1, 20))
def test_even_shares(total: int, parts: int) -> None:
    shares = even(total, parts)
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@given(st.lists(st.text(max_size=80), max_size=8), st.integers(1, 40), st.integers(0, 12))
def test_tail_is_the_end_of_all_lines(texts: list[str], width: int, height: int) -> None:
    console = Console(width=width)
    tail = Tail([Text(text) for text in texts])
    every = [line.plain for line in tail.wrapped(console, width, 10_000)]
    assert [line.plain for line in tail.wrapped(console, width, height)] == every[max(len(every) - height, 0) :]


def test_gauge_and_ends_keep_their_width() -> None:
    for part, whole in ((0, 10), (3, 10), (10, 10), (15, 10), (1, 0)):
        assert gauge(part, whole, 20).cell_len == 20
    for width in (5, 20, 80):
        assert ends(Text("left" * 9), Text("right"), width).cell_len == width


def test_the_live_view_uses_the_other_screen_and_leaves_the_transcript() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system=None)
    view = LiveView(console, hint="Ctrl-C")
    events = story(words=6)
    for event in events:
        view.show(event)
    view.close()
    live, _, after = out.getvalue().rpartition("\x1b[?1049l")
    assert live.count("\x1b[?1049h") == 1
    assert "Ctrl-C" in live
    assert "What is 17 × 24?\nExplain." in after
    assert after.count("Alice [1] ") == 1
    assert "(unfinished)" in after
    assert after.rstrip().splitlines()[-2].startswith("18 passes")


def test_a_view_that_was_shown_nothing_prints_nothing() -> None:
    out = io.StringIO()
    LiveView(Console(file=out, force_terminal=True)).close()
    assert out.getvalue() == ""
