"""``hogwild serve`` as a user starts it: a process of its own, on a tiny model in a folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import model_folder
from hogwild.cli import main, needs
from serving import until

KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model"), "tiny-model")


@contextmanager
def serving(model: Path, *flags: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server, and its process, which is ended if it still runs."""
    command = [sys.executable, "-m", "hogwild", "serve", str(model), "--port", "0", "--kv-memory", "20MB", *flags]
    environment = os.environ | {f"HOGWILD_SERVE_{name}": value for name, value in variables.items()}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("serving tiny-model at http://127.0.0.1:"), line
            yield line.split()[3], process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: int) -> list[dict[str, Any]]:
    """End a server by a signal; it does so in good order. Its log, as JSON."""
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return [json.loads(line) for line in log.splitlines()]


def test_flags_and_variables_log_and_end(model: Path) -> None:
    with serving(model, "--max-workers", "3", API_KEY=f"{KEY} another-key-of-it", BUDGET_DEFAULT="7") as (url, process):
        with httpx.Client(base_url=url, timeout=60) as http:
            until(lambda: http.get("/health").status_code == 200)
            assert http.get("/v1/models").status_code == 401
            http.headers["Authorization"] = "Bearer another-key-of-it"
            assert [one["id"] for one in http.get("/v1/models").json()["data"]] == [
                "tiny-model",
                "hogwild-2/tiny-model",
            ]
            body = {"model": "tiny-model", "messages": [{"role": "user", "content": "a secret"}]}
            answer = http.post("/v1/chat/completions", json=body)
            assert answer.json()["usage"]["completion_tokens"] == 7
            assert "<html" in http.get("/").text
        lines = end(process, signal.SIGTERM)
    requests = [line for line in lines if line["what"] == "request"]
    assert {"time", "level", "request", "method", "path", "status", "seconds"} <= set(requests[-1])
    assert "secret" not in str(lines)
    assert KEY not in str(lines)


def test_ctrl_c_lets_running_teams_answer(model: Path) -> None:
    answers = list[httpx.Response]()
    with serving(model, "--grace", "0.2") as (url, process), httpx.Client(base_url=url, timeout=60) as http:
        until(lambda: http.get("/health").status_code == 200)
        body = {"model": "hogwild-2/tiny-model", "max_tokens": 900, "hogwild": {"answer_tokens": 5}}
        body |= {"messages": [{"role": "user", "content": "Go."}]}

        def ask() -> None:
            answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: any(team["passes"] > 3 for team in http.get("/v1/teams").json()["data"]))
        end(process, signal.SIGINT)
        asking.join()
    assert answers[0].status_code == 200
    assert 0 < answers[0].json()["usage"]["hogwild"]["passes"] < 900


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "nothing", "--port", str(taken.getsockname()[1])]) == 2
    assert "Address already in use; take another one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "70000"], "--port: 70000 is out of range"),
        (["--max-body", "lots"], "--max-body: 'lots' is no size"),
        (["--api-key", "short"], "an API key is too short"),
        (["--max-workers", "17"], "max_workers is 17"),
        (["--workers-default", "9"], "workers_default is 9"),
        (["--attention", "best"], "--attention: unknown value"),
        (["--pass-tokens", "0"], "pass_tokens is 0"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: list[str], said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(model), *flags]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_the_packages_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "uvicorn" else find_spec(name))
    assert main(["serve"]) == 2
    assert "hogwild serve needs uvicorn" in capsys.readouterr().err
