"""Scores as judges write them, an endpoint that fails, and a command that goes on where it was stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli_story import story
from fakes import prompt_folder, scripted
from hogwild.cli import main
from hogwild.errors import HogwildError, OptionError
from hogwild.eval.judge import (
    RUBRIC,
    Judge,
    Judgement,
    judge_runs,
    judge_table,
    parse_score,
    read_judgements,
    transcript,
)
from hogwild.team.events import Event, StepStarted, Token
from hogwild.team.trace import TraceWriter
from serving import served, use_prompts

Answer = tuple[int, Any]


class Endpoint:
    """Gives the ``answers`` in turn, the last one again and again; ``asked`` keeps what came."""

    def __init__(self, *answers: Answer | str) -> None:
        self.answers = [answer if isinstance(answer, tuple) else (200, said(answer)) for answer in answers]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    def next(self) -> Answer:
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def said(text: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


@contextmanager
def listening(endpoint: Endpoint) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            endpoint.asked.append(body | {"path": self.path})
            endpoint.keys.append(self.headers["authorization"])
            status, answer = endpoint.next()
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if status == 429:
                self.send_header("retry-after", "7")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def judging(endpoint: Endpoint, slept: list[float] | None = None, key: str = "") -> Iterator[Judge]:
    waits = slept if slept is not None else []
    with listening(endpoint):
        judge = Judge(endpoint.url, "wise", key, sleep=waits.append)
        yield judge
        judge.close()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    write(path, story())
    return path


def write(path: Path, told: list[Event]) -> None:
    with TraceWriter(path) as file:
        for event in told:
            file.write(event)


@pytest.mark.parametrize(
    "text",
    [
        "Score: 4", "They talk.\n\nScore: 4", "score: 4.", "**Score:** 4", "**Score: 4**", "Score: 4/6", "Score: **4**",
        "Score = 4", "The score is 4", "Score: 2\nNo, better:\nScore: 4",
        '{"score": 4}', "Score: \\boxed{4}", "4", " 4\n",
        "Score: 4 out of 6", "SCORE - 4", "Final score: 4 (regular discussion)",
    ],
)  # fmt: skip
def test_scores_that_can_be_read(text: str) -> None:
    assert parse_score(text) == 4


@pytest.mark.parametrize(
    "text",
    ["", "Score: 7", "Score: 0", "Score: 4.5", "Score: N", "a 4 perhaps", "Score: 40", "44", "Score: four"],
)
def test_scores_that_cannot(text: str) -> None:
    assert parse_score(text) is None


def test_a_judge_reads_the_task_and_the_steps_in_order() -> None:
    shown = transcript(story(workers=2, steps=1, words=3))
    assert shown.startswith("Task: What is 17 × 24?\nExplain.\n\nWriters: Alice, Bob\n\n")
    heads = [line for line in shown.splitlines() if line.startswith("[") and "step" in line]
    assert heads == ["[Alice, step 1]", "[Bob, step 1]", "[Alice, step 2]", "[Bob, step 2]"]
    assert "407" not in shown  # of a snapshot: no worker wrote it


def test_a_judge_reads_so_many_tokens() -> None:
    told: list[Event] = [StepStarted(pass_=0, time=0, worker=name, step=1, text="") for name in ("Alice", "Bob")]
    told += [
        Token(pass_=done, time=0, worker=name, step=1, token=1, text=f"{name[0].lower()} ")
        for done in range(3000)
        for name in ("Alice", "Bob")
    ]
    assert transcript(told).count("\na " + "a " * 2046 + "a\n") == 1


def test_what_is_sent() -> None:
    endpoint = Endpoint("Score: 5")
    with judging(endpoint, key="secret") as judge:
        assert judge.ask("a run", seed=3) == "Score: 5"
    (body,) = endpoint.asked
    assert body["path"] == "/v1/chat/completions"
    assert (body["model"], body["seed"]) == ("wise", 3)
    assert [message["content"] for message in body["messages"]] == [RUBRIC, "a run"]
    assert endpoint.keys == ["Bearer secret"]


def test_busy_endpoints_are_asked_again() -> None:
    slept = list[float]()
    endpoint = Endpoint((503, "busy"), (429, "slow down"), "Score: 2")
    with judging(endpoint, slept) as judge:
        assert judge.ask("a run", seed=1) == "Score: 2"
    assert slept == [1.0, 7.0]


def test_who_is_always_busy_is_given_up() -> None:
    slept = list[float]()
    with judging(Endpoint((503, "busy")), slept) as judge, pytest.raises(HogwildError, match="answers 503: busy"):
        judge.ask("a run", seed=1)
    assert slept == [1, 2, 4, 8, 16]


def test_a_refusal_is_told_at_once() -> None:
    slept = list[float]()
    with judging(Endpoint((401, "no such key")), slept) as judge, pytest.raises(HogwildError, match="401: no such key"):
        judge.ask("a run", seed=1)
    assert slept == []


def test_nobody_listens() -> None:
    judge = Judge("http://127.0.0.1:9/v1", "wise", sleep=lambda _: None)
    with pytest.raises(HogwildError, match="cannot be reached"):
        judge.ask("a run", seed=1)
    judge.close()


@pytest.mark.parametrize("answer", ["no JSON", {"choices": []}, {"error": "x"}, []])
def test_what_is_no_chat_completion(answer: Any) -> None:
    with judging(Endpoint((200, answer))) as judge, pytest.raises(HogwildError, match="no chat completion"):
        judge.ask("a run", seed=1)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x:99999999"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(OptionError, match="--url"):
        Judge(url, "wise")


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    path, runs = tmp_path / "out.jsonl", {"a": "run a", "b": "run b"}
    endpoint = Endpoint("Score: 1", "hm", "Score: 3", "Score: 4", "Score: 6", (500, "down"))
    with judging(endpoint) as judge:
        first = list(judge_runs(runs, judge, 2, path))
        assert [one.score for one in first] == [1, None, 3, 4]
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # killed while the last one was written
        again = list(judge_runs(runs, judge, 2, path))
    assert len(endpoint.asked) == 5
    assert [one.score for one in again] == [1, None, 3, 6]
    assert read_judgements(path) == again


def test_another_run_under_the_same_name_is_asked(tmp_path: Path) -> None:
    endpoint, path = Endpoint("Score: 1"), tmp_path / "out.jsonl"
    with judging(endpoint) as judge:
        list(judge_runs({"a": "run"}, judge, 1, path))
        list(judge_runs({"a": "another run"}, judge, 1, path))
        list(judge_runs({"moved": "run"}, judge, 1, path))
    assert len(endpoint.asked) == 2


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for text in ("hello\n", '{"kind": "token"}\n', "[1]\n"):
        path.write_text(text)
        with pytest.raises(OptionError, match="line 1 is no judgement"):
            read_judgements(path)


def test_means_and_intervals() -> None:
    found = [
        Judgement(trace, trace, number, "wise", score, "")
        for trace, scores in {"a": (2, 4), "b": (5, None), "c": (None, None)}.items()
        for number, score in enumerate(scores, 1)
    ]
    table = judge_table(found)
    assert table.rows[0][:2] == ("a", "2 4")
    assert table.rows[0][2].startswith("3.00 (2.00 to 4.00)")
    assert table.rows[1] == ("b", "5 ?", "5.00", "1")
    assert table.rows[2] == ("c", "? ?", "", "2")
    assert table.rows[3][0] == "all 3"
    assert table.rows[3][2].startswith("4.00 (")
    assert table.rows[3][3] == "3"


def test_command(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    out = tmp_path / "judged.jsonl"
    with listening(Endpoint("Score: 2", "Score: 3")) as endpoint:
        options = ["--url", endpoint.url, "--judge-model", "wise", "--times", "2", "--out", str(out)]
        for _ in range(2):
            assert main(["eval", "judge", str(trace), *options, "--key-variable", "MY_KEY", "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert [one["score"] for one in found["judgements"]] == [2, 3]
            assert found["not_parsable"] == 0
    assert len(endpoint.asked) == 2
    assert set(endpoint.keys) == {"Bearer secret"}


def test_hogwilds_own_server_can_be_the_judge(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_prompts(monkeypatch, prompt_folder(tmp_path / "prompts"))
    engine = scripted({"Alice": ["They share the work.\n\n"], "Bob": ["Yes.\n\n"]}, answer="Score: 4", pages=512)
    out = tmp_path / "judged.jsonl"
    with served(engine, name="tiny") as server:
        options = ["--url", f"{server.url}/v1", "--judge-model", "hogwild-2/tiny", "--max-tokens", "40"]
        assert main(["eval", "judge", str(trace), *options, "--times", "1", "--out", str(out)]) == 0
    (one,) = read_judgements(out)
    assert (one.trace, one.model) == (str(trace), "hogwild-2/tiny")
    assert one.score == 4


def test_command_refuses_in_one_line(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"--url": "http://127.0.0.1:9/v1", "--judge-model": "wise", "--out": str(tmp_path / "out.jsonl")}
    for name, wrong in (("--times", "0"), ("--url", "nowhere"), ("--out", str(tmp_path)), ("--max-tokens", "0")):
        options = [part for pair in (good | {name: wrong}).items() for part in pair]
        assert main(["eval", "judge", str(trace), *options]) == 2
        assert name in capsys.readouterr().err
