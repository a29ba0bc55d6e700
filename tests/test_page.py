"""The page in a real browser, against a server that plays a story: start, watch, say, stop, reload, lose the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from browsing import PHONE, Visit
from fake_server import STORY, FakeServer, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MID = 24  # events after which the story waits: both workers write their first step


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer(STORY)
    with serving(server.app) as url:
        server.url = url
        yield server


@pytest.fixture
def visit(browser: Browser, server: FakeServer) -> Iterator[Visit]:
    visit = Visit(browser, server.url)
    yield visit
    visit.context.close()
    assert visit.complaints == []


def columns(visit: Visit) -> list[str]:
    return visit.page.locator(".column .text").all_inner_texts()


def test_two_columns_fill_and_steps_move_to_the_history(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    visit.start("Say hello.")
    visit.until("document.querySelectorAll('.column .text').length === 2")
    visit.wait_text("#figure-passes", "9")
    before = columns(visit)
    assert all(before)
    assert visit.text("#team-task") == "Say hello."
    server.hold = MID + 4
    visit.wait_text("#figure-passes", "11")
    after = columns(visit)
    assert all(new.startswith(old) and len(new) > len(old) for old, new in zip(before, after, strict=True))
    assert visit.page.locator("#history li").count() == 1  # who does what
    server.hold = None
    visit.over()
    names = visit.page.locator("#history li.step .who b").all_inner_texts()
    assert names == ["Alice", "Bob", "Alice", "Bob"]
    assert "408." in visit.text("#answer-text")
    assert visit.page.title().startswith("Say hello.")


def test_the_figures_count(visit: Visit, server: FakeServer) -> None:
    visit.start()
    visit.over()
    finished = STORY[-1]
    assert visit.text("#figure-passes") == str(finished["passes"])
    assert visit.text("#figure-tokens") == str(sum(finished["tokens"].values()))
    assert visit.text("#figure-left") == f"{STORY[0]['budget'] - finished['passes']} passes"
    assert float(visit.text("#figure-rate")) == pytest.approx(20, abs=0.1)


def test_views_are_drawn_in_proportion(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    visit.start()
    visit.wait_text("#figure-passes", "9")
    strip = visit.page.locator(".view .strip").first
    assert "the task 630" in (strip.get_attribute("aria-label") or "")
    widths = strip.locator("i").evaluate_all("blocks => blocks.map((block) => block.getBoundingClientRect().width)")
    kinds = strip.locator("i").evaluate_all("blocks => blocks.map((block) => block.className)")
    assert kinds == ["prompt", "other", "private", "own"]
    assert widths[0] > 20 * widths[1] > 20 * 1


def test_what_is_said_reaches_the_team_and_the_history(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    page.fill("#say-text", "Mind the <b>gap</b>.")
    page.press("#say-text", "Enter")
    visit.wait_text("#history li.said", "Mind the <b>gap</b>.")
    visit.until("document.getElementById('say-text').value === ''")
    assert "POST /v1/teams/team-1/say" in server.requests


def test_stop_asks_for_the_answer(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    page.click("#stop")
    visit.over()
    assert not page.is_visible("#stop")
    assert not page.is_visible("#say")
    assert page.is_visible("#download")
    assert "408." in visit.text("#answer-text")


def test_cancel_ends_without_an_answer(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    page.click("#cancel")
    page.wait_for_selector('#phase[data-phase="cancelled"]')
    assert not page.is_visible("#answer")


def test_workers_join_and_leave(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    page.click("#add-worker")
    assert page.input_value("#worker-name") == "Carol"
    page.fill("#worker-prompt", "You doubt.")
    page.click("#worker-dialog button.primary")
    visit.wait_text(".column h3", "Carol")
    page.get_by_role("button", name="Remove Carol").click()
    visit.wait_text("#history li", "Carol left.")
    assert "DELETE /v1/teams/team-1/workers/Carol" in server.requests


def test_a_reload_in_mid_run_loses_nothing(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    before = columns(visit)
    page.reload()
    visit.wait_text("#figure-passes", "9")
    assert columns(visit) == before
    server.hold = None
    visit.over()
    assert page.locator("#history li.step").count() == 4


def test_a_dropped_connection_goes_on_where_it_was(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    before = columns(visit)
    server.cut = True
    visit.wait_text("#connection", "Connection lost")
    server.hold = None
    visit.over()
    assert server.connections == 2
    assert page.locator("#history li.step").count() == 4
    finished = [event["text"] for event in STORY if event["kind"] == "step_finished"]
    assert before[0].strip() in finished[0]
    assert visit.text("#figure-tokens") == "72"


def test_teams_of_the_server_are_listed(visit: Visit, server: FakeServer) -> None:
    page = visit.start("The first task")
    visit.over()
    page.click("text=All teams")
    visit.wait_text("#teams li", "The first task")
    assert "finished" in visit.text("#teams li")
    page.click("#teams a")
    visit.over()
    assert page.url.endswith("#team=team-1")


def test_a_refused_task_is_told_beside_the_form(visit: Visit) -> None:
    visit.expected = "400"
    page = visit.go()
    page.click("#start-button")
    assert visit.text("#start-error") == "Say what the team should do."
    page.fill("#task", "x")
    page.fill("#workers", "17")
    page.click("#start-button")
    assert "Workers" in visit.text("#start-error")
    page.fill("#workers", "2")
    page.fill("#task", "refuse")
    page.click("#start-button")
    visit.wait_text("#start-error", "task is 'refuse': say what")
    page.reload()
    assert page.input_value("#task") == "refuse"  # what was typed is not lost


def test_the_form_asks_for_what_was_chosen(visit: Visit, server: FakeServer) -> None:
    page = visit.go()
    page.wait_for_selector("#model option", state="attached")
    page.select_option("#model", "hogwild-4/tiny")
    assert page.input_value("#workers") == "4"
    page.fill("#task", "Share it out.")
    page.fill("#budget", "99")
    page.check("input[value=interleaved]")
    page.click("#more summary")
    page.fill("#parts", "one\n\n  two ")
    page.fill("#temperature", "0.5")
    page.press("#temperature", "Control+Enter")
    page.wait_for_selector("#team-task")
    visit.until("location.hash === '#team=team-1'")
    wanted: dict[str, Any] = {"task": "Share it out.", "model": "hogwild-4/tiny", "layout": "interleaved", "workers": 4}
    wanted |= {"budget": 99, "answer": "text", "parts": ["one", "two"], "temperature": 0.5}
    assert server.teams["team-1"].asked == wanted


@contextmanager
def locked_out(browser: Browser, server: FakeServer) -> Iterator[Visit]:
    """A page that has just been asked for the server's key."""
    with serving(server.app) as url:
        visit = Visit(browser, url)
        visit.expected = "401"
        visit.go().wait_for_selector("#key-dialog[open]")
        yield visit
        visit.context.close()


def test_the_key_is_asked_for_once_and_kept_in_the_tab(browser: Browser) -> None:
    with locked_out(browser, FakeServer(STORY, key="secret")) as visit:
        page = visit.page
        page.fill("#key", "secret")
        page.press("#key", "Enter")
        page.wait_for_selector("#model option", state="attached")
        page.fill("#task", "Hello")
        page.click("#start-button")
        visit.over()
        page.reload()
        visit.over()
        assert page.evaluate("JSON.stringify(localStorage)").find("secret") == -1
        assert visit.complaints == []


def test_who_has_no_key_is_asked_once(browser: Browser) -> None:
    server = FakeServer(STORY, key="secret")
    with locked_out(browser, server) as visit:
        page = visit.page
        page.keyboard.press("Escape")
        asked = len(server.requests)
        visit.until("!document.getElementById('key-dialog').open")
        page.wait_for_timeout(3500)
        assert len(server.requests) > asked  # it has looked for teams again
        assert not page.is_visible("#key-dialog")
        page.click("#key-button")
        assert page.is_visible("#key-dialog")


def test_a_tool_that_a_worker_waits_for_can_be_answered(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    call = {"worker": "Alice", "step": 1, "call": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'}
    server.teams["team-1"].tell(kind="tool_called", **call)
    visit.wait_text(".column .status", "waits for a tool")
    visit.wait_text("#history li", 'Alice calls weather({"city": "Oslo"})')
    page.fill(".calls input", "rain")
    page.press(".calls input", "Enter")
    visit.wait_text("#history li", "Alice is given: rain")
    assert page.locator(".calls form").count() == 0


def test_a_mangled_address_shows_a_page_all_the_same(visit: Visit) -> None:
    visit.expected = "404"
    visit.go("#team=%zz")
    visit.wait_text("#team-error", "does not know that team")


def test_on_a_phone_the_columns_are_tabs(browser: Browser, server: FakeServer) -> None:
    server.hold = MID
    visit = Visit(browser, server.url, PHONE)
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    assert page.locator(".column:visible").count() == 1
    alice, bob = page.get_by_role("tab").all()
    assert alice.get_attribute("aria-selected") == "true"
    alice.focus()
    page.keyboard.press("ArrowRight")
    assert bob.get_attribute("aria-selected") == "true"
    assert page.locator(".column:visible h3").inner_text() == "Bob"
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0  # nothing sticks out
    visit.context.close()


def test_a_screen_reader_hears_of_steps_and_not_of_words(visit: Visit, server: FakeServer) -> None:
    server.hold = MID
    page = visit.start()
    visit.wait_text("#figure-passes", "9")
    page.wait_for_timeout(1600)  # what comes later is news
    server.pace, server.hold = 0.02, None
    visit.until("document.getElementById('announcer').textContent.includes('finished')")
    assert len(visit.text("#announcer").split()) < 60
    live = page.locator("[aria-live], [role=status], [role=alert], output").evaluate_all(
        "all => all.map((one) => one.id)"
    )
    assert set(live) == {"announcer", "page-error", "start-error", "team-error", "moment"}
