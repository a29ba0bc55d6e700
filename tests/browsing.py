"""A real browser for the page's tests: Debian's Chromium, driven by Playwright; without it they are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

CHROMIUM = os.environ.get("HOGWILD_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None
)
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser without a window. Skips the test, with the reason, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium, or HOGWILD_CHROMIUM=/path/to/it)")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=root)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A tab. ``complaints`` is what the browser had to say: errors, refused content, requests to elsewhere."""

    def __init__(self, browser: Browser, url: str, viewport: dict[str, int] = WIDE, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.expected = ""  # part of a complaint that is no fault
        self.page.on("pageerror", lambda error: self._complain(f"error: {error}"))
        self.page.on("console", self._hear)
        self.page.on("request", lambda request: self._look(request.url))
        self.page.on("dialog", self._refuse)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self._complain(said.text)

    def _refuse(self, dialog: Dialog) -> None:
        self._complain(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _complain(self, text: str) -> None:
        if not (self.expected and self.expected in text):
            self.complaints.append(text)

    def _look(self, address: str) -> None:
        if not address.startswith((self.url, "blob:" + self.url)):
            self.complaints.append(f"request: {address}")

    def go(self, rest: str = "") -> Page:
        """Open the page at an address of it."""
        self.page.goto(f"{self.url}/{rest}")
        return self.page

    def start(self, task: str = "Count to ten.") -> Page:
        """Start a team."""
        page = self.go()
        page.wait_for_selector("#model option", state="attached")
        page.fill("#task", task)
        page.click("#start-button")
        page.wait_for_selector("#team-task")
        return page

    def text(self, selector: str) -> str:
        """The text of an element, as a person sees it."""
        return self.page.locator(selector).first.inner_text()

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        self.page.locator(selector, has_text=text).first.wait_for(state="visible")

    def over(self) -> None:
        """Wait until the run has finished."""
        self.page.wait_for_selector('#phase[data-phase="finished"]')

    def until(self, expression: str) -> None:
        """Wait until JavaScript says yes. (The page's own policy forbids Playwright's way, which polls by eval.)"""
        for _ in range(300):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {expression}")
