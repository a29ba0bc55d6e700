"""Small parts of the server: stop texts, readers that wait."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild.server.record import Waker
from hogwild.server.sse import ClientGone, EventStream, data, unless_gone
from hogwild.server.stops import StopText

PIECES = st.lists(st.text("abc", max_size=3), max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=3), max_size=3)


def passed(stop: list[str], pieces: list[str]) -> tuple[str, list[Any]]:
    """All that comes out, and what each piece carries: its number."""
    filtered, text, carried = StopText(stop), "", list[Any]()
    for number, piece in enumerate(pieces):
        more, numbers = filtered.push(piece, number)
        text, carried = text + more, carried + numbers
    more, numbers = filtered.rest()
    return text + more, carried + numbers


@given(STOPS, PIECES)
def test_the_text_ends_ahead_of_the_first_stop_text(stop: list[str], pieces: list[str]) -> None:
    text = ""
    for piece in pieces:  # it is looked for whenever a piece has come: the first one then counts
        text += piece
        places = [text.index(one) for one in stop if one in text]
        if places:
            text = text[: min(places)]
            break
    assert passed(stop, pieces)[0] == text


@given(STOPS, PIECES)
def test_nothing_is_held_back_that_begins_no_stop_text(stop: list[str], pieces: list[str]) -> None:
    filtered, given_out, all_text = StopText(stop), "", ""
    for piece in pieces:
        given_out += filtered.push(piece)[0]
        all_text += piece
        if filtered.found:
            return
        held = all_text.removeprefix(given_out)
        assert not held or any(one.startswith(held) for one in stop)


@given(PIECES)
def test_what_pieces_carry_comes_out_in_order(pieces: list[str]) -> None:
    assert passed([], pieces) == ("".join(pieces), list(range(len(pieces))))
    assert passed(["cab"], pieces)[1] == sorted(passed(["cab"], pieces)[1])


def test_what_belongs_to_the_stop_text_is_left_out() -> None:
    assert passed(["END"], ["one ", "E", "N", "D", "two"]) == ("one ", [0])
    assert passed(["END"], ["one ", "E", "", "x", "two"]) == ("one Extwo", [0, 1, 2, 3, 4])


def test_a_reader_is_woken_from_another_thread() -> None:
    async def main() -> list[bool]:
        waker = Waker()
        waker.clear()
        threading.Timer(0.01, waker.ring).start()
        woken = [await waker.wait(5)]
        waker.clear()
        return [*woken, await waker.wait(0.01)]

    assert asyncio.run(main()) == [True, False]


def test_an_event_is_one_line_whatever_it_holds() -> None:
    text = data({"text": "a\nb\r\u2028\ud800"}, kind="x", number=3)
    assert text.startswith("id: 3\nevent: x\ndata: {")
    assert text.endswith("}\n\n")
    assert text.count("\n") == 4
    assert text.count("\r") == 0


def test_work_ends_when_its_client_has_gone() -> None:
    cleaned = list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("work")

    class Gone:
        async def receive(self) -> dict[str, str]:
            await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        asyncio.run(unless_gone(Gone(), work()))  # type: ignore[arg-type]
    assert cleaned == ["work"]


def test_a_stream_that_nobody_takes_is_closed_when_the_client_has_gone() -> None:
    """The reader's buffers are full: sending never comes back."""
    closed = list[str]()

    async def pieces() -> Any:
        try:
            while True:
                yield "data: x\n\n"
        finally:
            closed.append("pieces")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(3600)

    async def receive() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.disconnect"}

    asyncio.run(EventStream(pieces())({"type": "http"}, receive, send))
    assert closed == ["pieces"]
