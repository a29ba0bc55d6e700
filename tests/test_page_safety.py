"""The page and what nobody vouches for: text of a model does nothing; and the page can be read by everybody (axe)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from browsing import PHONE, WIDE, Visit
from cli_story import lines, story
from fake_server import FakeServer, serving
from hogwild.server.web import PAGE, add_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = (Path(__file__).parent / "vendor" / "axe" / "axe.min.js").read_text(encoding="utf-8")
EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pic](https://example.org/x.png)",
    "[click](javascript:alert(1)) [ok](https://example.org/ok)",
    "<a href='javascript:alert(1)'>a</a>",
    "<iframe src='https://example.org'></iframe>",
    "<svg><script>alert(1)</script></svg>",
    "<style>body{display:none}</style>",
    "<form action='https://example.org'><button>go</button></form>",
    "$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://example.org/y.png}$",
    "<div style='position:fixed;inset:0'>over all</div>",
    "<b onclick=alert(1)>bold</b>",
    "<math><mtext></mtext><mglyph><style></math><img src onerror=alert(1)>",
]


def evil_story() -> list[dict[str, Any]]:
    told = [
        json.loads(line)
        for line in lines(story(workers=2, steps=2, words=14, texts=[f"{one}\n\n" for one in EVIL])).splitlines()
    ]
    for event in told:
        if event["kind"] in ("answer_token", "finished"):
            event["text"] = "\n\n".join(EVIL) + "\n\nThe end is $x^2$, **surely**."
        if event["kind"] == "answer_found":
            event["answer"] = EVIL[1]
        if event["kind"] == "said":
            event |= {"name": EVIL[1], "text": EVIL[0]}
    return told


def test_nothing_that_a_model_writes_is_obeyed(browser: Browser) -> None:
    server = FakeServer(evil_story())
    server.hold = 28
    with serving(server.app) as url:
        visit = Visit(browser, url)
        page = visit.start("<img src=x onerror=alert(1)>")
        visit.wait_text("#figure-passes", "11")
        assert "<script>alert(1)</script>" in visit.text(".column .text")
        server.hold = None
        visit.over()
        visit.wait_text("#answer-text strong", "surely")
        page.wait_for_selector("#answer-text .katex")
        for tag in ("script", "img", "iframe", "form", "style", "button", "svg script"):
            assert page.locator(f"#history {tag}, #answer {tag}, #columns .text {tag}").count() == 0, tag
        assert "<script>alert(1)</script>" in visit.text("#answer-text")
        links = page.locator("#answer-text a").evaluate_all("all => all.map((one) => [one.href, one.rel])")
        assert {href for href, _ in links} == {"https://example.org/x.png", "https://example.org/ok"}
        assert all("noopener" in rel for _, rel in links)
        handlers = (
            "[...document.querySelectorAll('#team *')]"
            ".flatMap((e) => [...e.attributes]).filter((a) => /^on/.test(a.name))"
        )
        assert page.evaluate(f"{handlers}.length") == 0
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        assert visit.complaints == []  # no dialog, no request to elsewhere, nothing that the policy had to refuse
        visit.context.close()


def test_formulas_code_and_tables_are_set(browser: Browser) -> None:
    told = [json.loads(line) for line in lines(story(workers=2, steps=1, words=3)).splitlines()]
    text = "It costs $5 or $6.\n\n$$\\frac{1}{2}$$\n\n"
    text += "So \\(x\\), \\[y\\] and \\boxed{30}.\n\n```python\nx = 1\n```\n\n|a|b|\n|-|-|\n|1|2|\n"
    text += "\n\n$\\sqrt{\\overbrace{x}} \\color{red} \\hspace{1em} \\cancel{x}$\n"
    told[-1]["text"] = text
    next(event for event in told if event["kind"] == "step_finished")["text"] += "\n\n- one\n- two\n"
    server = FakeServer(told)
    with serving(server.app) as url:
        visit = Visit(browser, url)
        page = visit.start()
        visit.over()
        page.wait_for_selector("#answer-text .katex")
        assert page.locator("#answer-text .katex").count() == 5
        assert page.locator("#answer-text .katex-display").count() == 2
        assert page.locator("#answer-text annotation").all_text_contents()[:4] == [
            "\\frac{1}{2}",
            "x",
            "y",
            "\\boxed{30}",
        ]
        assert "$5 or $6" in visit.text("#answer-text")
        assert page.locator("#answer-text pre code").inner_text().strip() == "x = 1"
        assert page.locator("#answer-text td").count() == 2
        frames = "[...document.querySelectorAll('#history li li')].map((one) => getComputedStyle(one).borderTopWidth)"
        assert page.evaluate(frames) == ["0px", "0px"]  # a list in a step has no frame of a step
        assert visit.complaints == []
        visit.context.close()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, scheme: str, viewport: dict[str, int]) -> None:
    told = [json.loads(line) for line in lines(story(workers=16, steps=2, words=12)).splitlines()]
    told[-1]["text"] = "It is **408**: $17 \\cdot 24$, `x = 1`.\n\n```\ncode\n```\n\n[more](https://example.org)"
    server = FakeServer(told, pace=0)
    server.hold = 400
    with serving(server.app) as url:
        visit = Visit(browser, url, viewport, color_scheme=scheme)
        page = visit.go()
        page.wait_for_selector("#model option", state="attached")
        page.click("#more summary")
        check(visit)
        visit.start()
        visit.until("document.querySelectorAll('#history li.step').length >= 16")
        check(visit)
        page.click("#add-worker")
        check(visit)
        page.keyboard.press("Escape")
        server.hold = None
        visit.over()
        page.wait_for_selector("#answer-text .katex")
        check(visit)
        page.locator("#scrub").fill("300")
        visit.wait_text("#moment", "pass")
        check(visit)
        page.click("text=All teams")
        page.wait_for_selector("#teams a")
        check(visit)
        assert visit.complaints == []
        visit.context.close()


def check(visit: Visit) -> None:
    if not visit.page.evaluate("'axe' in window"):
        visit.page.evaluate(AXE)
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    told = [
        (one["id"], [node["html"][:200] + node["failureSummary"][:300] for node in one["nodes"][:3]])
        for one in found["violations"]
    ]
    assert told == []


def client() -> TestClient:
    app = FastAPI()
    add_page(app)
    return TestClient(app)


def test_every_file_comes_with_its_type_and_the_headers() -> None:
    ask = client()
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    types |= {".woff2": "font/woff2"}
    files = [path for path in PAGE.rglob("*") if path.is_file() and path.suffix in types]
    assert len(files) > 30
    for path in files:
        answer = ask.get(f"/page/{path.relative_to(PAGE).as_posix()}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == types[path.suffix]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    again = ask.get("/page/main.js", headers={"If-None-Match": ask.get("/page/main.js").headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


def test_the_page_is_html_and_holds_no_script_of_its_own() -> None:
    answer = client().get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


@pytest.mark.parametrize("path", ["/page/../web.py", "/page/%2e%2e/web.py", "/page/nothing.js", "/page/"])
def test_nothing_else_is_served(path: str) -> None:
    assert client().get(path).status_code == 404


def test_nothing_in_the_page_names_another_server() -> None:
    for path in PAGE.rglob("*"):
        if path.suffix in (".js", ".css", ".html", ".svg") and "vendor" not in path.parts:
            told = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in told
            assert "https://" not in told
            assert ".innerHTML" not in told
            assert len(told.splitlines()) <= 400
