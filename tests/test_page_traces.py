"""The page over a run that is over: opened from a file, scrubbed, played, downloaded."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from browsing import Visit
from cli_story import story, write
from fake_server import STORY, FakeServer, serving
from hogwild.cli import main
from hogwild.server.web import trace_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DATA = Path(__file__).parent / "data"
EVENTS = story(workers=2, steps=2, words=12)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    server = FakeServer(STORY)
    with serving(server.app) as url:
        visit = Visit(browser, url)
        yield visit
        visit.context.close()
        assert visit.complaints == []


def open_file(visit: Visit, path: Path) -> Page:
    page = visit.go()
    page.set_input_files("#trace-file", path)
    page.wait_for_selector("#team-task")
    return page


def test_a_trace_of_a_real_run_is_shown(visit: Visit) -> None:
    page = open_file(visit, DATA / "health.jsonl")
    visit.over()
    assert visit.text("#team-task") == "Give advice on health."
    assert visit.text("#connection") == "saved trace"
    assert "Drinking water" in visit.text("#answer-text")
    assert not page.is_visible("#stop")
    assert page.url.endswith("#trace")
    page.reload()
    visit.over()
    assert visit.text("#team-task") == "Give advice on health."


def test_the_time_line_scrubs_back_and_forth(visit: Visit, tmp_path: Path) -> None:
    page = open_file(visit, write(tmp_path / "run.jsonl", EVENTS))
    visit.over()
    slider = page.locator("#scrub")
    assert slider.get_attribute("max") == str(len(EVENTS))
    for at, event in enumerate(EVENTS, 1):
        if event.kind in ("token", "step_finished", "said", "answer_found", "finished") and at % 5 == 0:
            slider.fill(str(at))
            visit.wait_text("#figure-passes", str(event.pass_))
    slider.fill("24")
    visit.wait_text("#figure-passes", "9")
    assert page.locator("#history li.step").count() == 0
    assert not page.is_visible("#answer")
    assert visit.text("#phase") == "writing"
    slider.focus()
    page.keyboard.press("ArrowRight")
    visit.until("document.getElementById('scrub').value === '25'")
    page.click("#after")
    visit.until("document.querySelectorAll('#history li.step').length === 1")
    assert "pass 12" in (slider.get_attribute("aria-valuetext") or "")
    page.click("#before")
    visit.until("document.querySelectorAll('#history li.step').length === 0")
    page.click("#to-end")
    visit.over()
    assert page.locator("#history li.step").count() == 4


def test_a_run_is_played_again(visit: Visit, tmp_path: Path) -> None:
    page = open_file(visit, write(tmp_path / "run.jsonl", EVENTS))
    visit.over()
    page.select_option("#speed", "16")
    page.click("#play")
    visit.until("document.getElementById('phase').dataset.phase === 'writing'")
    assert visit.text("#play") == "Pause"
    visit.over()
    visit.until("document.getElementById('play').textContent === 'Play'")


def test_a_trace_is_downloaded_as_it_was(visit: Visit, tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", EVENTS)
    page = open_file(visit, file)
    visit.over()
    with page.expect_download() as download:
        page.click("#download")
    got = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in got] == [json.loads(line) for line in file.read_text().splitlines()]


def test_the_trace_of_a_run_on_the_server_is_downloaded(visit: Visit) -> None:
    page = visit.start()
    visit.over()
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "team-1.jsonl"
    got = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in got] == [event["kind"] for event in STORY]


def test_what_is_no_trace_is_refused_in_a_sentence(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"hello": 1}\n')
    page = visit.go()
    page.set_input_files("#trace-file", tmp_path / "other.jsonl")
    visit.wait_text("#page-error", "other.jsonl: Line 1 is no event: this is not a trace of hogwild.")
    page.goto(visit.url + "/#trace=https://example.org/x.jsonl")
    visit.wait_text("#page-error", "A trace is opened from this server, or from a file.")


def test_sixteen_workers_have_a_column_each(visit: Visit, tmp_path: Path) -> None:
    page = open_file(visit, write(tmp_path / "run.jsonl", story(workers=16, steps=1, words=4)))
    visit.over()
    page.locator("#scrub").fill("90")
    visit.until("document.querySelectorAll('.column').length === 16")
    colours = page.locator(".column h3").evaluate_all("all => all.map((one) => getComputedStyle(one).color)")
    assert len(set(colours)) == 16


def test_replay_web_serves_the_trace_on_this_machine(browser: Browser, tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", EVENTS)
    command = [sys.executable, "-m", "hogwild", "replay", "--web", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/#trace=trace.jsonl", process.stdout.readline())
            assert found is not None
            url, rest = found[0].split("/#")
            visit = Visit(browser, url)
            page = visit.go(f"#{rest}")
            visit.over()
            assert page.locator("#history li.step").count() == 4
            visit.expected = "404"
            page.click("text=All teams")
            visit.wait_text("#start-error", "There is no server behind this page: it can only open traces.")
            assert visit.complaints == []
            visit.context.close()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def test_a_trace_is_read_by_nobody_elses_site() -> None:
    client = TestClient(trace_app(DATA / "health.jsonl"), base_url="http://127.0.0.1")
    assert client.get("/trace.jsonl").text == (DATA / "health.jsonl").read_text()
    assert client.get("/trace.jsonl", headers={"Host": "evil.example"}).status_code == 400


def test_replay_web_refuses_what_it_cannot_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--web", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["replay", "--web", "--json", str(write(tmp_path / "run.jsonl", EVENTS))]) == 2
    assert "--web shows all of a run" in capsys.readouterr().err
