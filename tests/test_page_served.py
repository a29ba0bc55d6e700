"""The page against the real server, over workers that write from a script."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import Visit
from fakes import scripted
from hogwild.team.events import Finished
from hogwild.team.trace import read_trace
from serving import Served, served, use_prompts

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, prompt: Path) -> Iterator[Served]:
    """Workers that finish a step or two, and then write ``x`` without end, 100 tokens a second."""
    use_prompts(monkeypatch, prompt)
    engine = scripted({"Alice": ["One.\n\n", "Two.\n\n"], "Bob": ["Three.\n\n"]}, answer="done")
    engine.hook = lambda: time.sleep(0.01)
    with served(engine, max_workers=3, api_keys=("secret-key",)) as running:
        yield running


def test_a_team_from_start_to_end(browser: Browser, server: Served, tmp_path: Path) -> None:
    visit = Visit(browser, server.url)
    visit.expected = "401"
    page = visit.go()
    page.wait_for_selector("#key-dialog[open]")
    page.fill("#key", "secret-key")
    page.click("#key-ok")
    page.wait_for_selector("#model option", state="attached")
    assert page.locator("#model option").all_inner_texts()[0] == "tiny"
    page.fill("#task", "Count.")
    page.fill("#budget", "3000")
    page.click("#start-button")
    visit.wait_text("#history li.step", "Three.")
    assert page.locator("#history li.step .who b").all_inner_texts().count("Alice") == 2
    first = page.locator(".column .text").first
    before = first.inner_text()
    visit.until(f"document.querySelector('.column .text').textContent.length > {len(before)}")

    page.fill("#say-text", "Hurry, please.")
    page.press("#say-text", "Enter")
    visit.wait_text("#history li.said", "Hurry, please.")
    page.click("#add-worker")
    page.click("#worker-dialog button.primary")
    visit.wait_text(".column h3", "Carol")
    page.get_by_role("button", name="Remove Carol").click()
    visit.wait_text("#history li", "Carol left.")

    told = page.locator("#history li").all_inner_texts()
    page.reload()
    visit.until(f"document.querySelectorAll('#history li').length === {len(told)}")
    assert page.locator("#history li").all_inner_texts() == told
    page.click("#stop")
    visit.over()
    assert "done" in visit.text("#answer-text")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "run.jsonl")
    assert isinstance(read_trace(tmp_path / "run.jsonl")[-1], Finished)
    page.click("text=All teams")
    visit.wait_text("#teams li", "Count.")
    assert visit.complaints == []
    visit.context.close()


def test_a_tab_that_is_closed_leaves_the_team_alone_and_cancel_ends_it(browser: Browser, server: Served) -> None:
    visit = Visit(browser, server.url)
    visit.expected = "401"
    page = visit.go()
    page.fill("#key", "secret-key")
    page.press("#key", "Enter")
    page.wait_for_selector("#model option", state="attached")
    page.fill("#task", "Count on.")
    page.fill("#budget", "4000")
    page.click("#start-button")
    visit.wait_text("#figure-passes", "1")
    address = page.url
    page.close()
    other = visit.context.new_page()
    other.goto(f"{server.url}/")
    other.fill("#key", "secret-key")
    other.press("#key", "Enter")
    other.wait_for_selector("#model option", state="attached")  # the key was taken, and is kept for this tab
    other.goto(address)
    other.wait_for_selector('#phase[data-phase="writing"]')
    other.click("#cancel")
    other.wait_for_selector('#phase[data-phase="cancelled"]')
    assert not other.is_visible("#stop")
    visit.context.close()
