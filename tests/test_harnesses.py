"""docs/harnesses.md: its files are there, and the server takes the very requests that its commands lead to."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import prompt_folder, scripted
from serving import Served, served, use_prompts

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "harnesses"
PAGE = (ROOT / "docs" / "harnesses.md").read_text()
NAME = "smollm2-135m-instruct"
COMMAND = re.compile(r"^    ((?:lm_eval|inspect) (?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)

ASKED = "What is 2 + 2? Answer with the number only."
BY_LM_EVAL: dict[str, Any] = {"max_tokens": 32, "temperature": 0, "stop": ["\n\n"], "seed": 1234}
"""What lm-eval 0.4.13 sends besides model and prompt, as it was recorded."""
BY_INSPECT: dict[str, Any] = {"max_tokens": 32}
"""The same of inspect_ai 0.3.285."""


def commands() -> list[list[str]]:
    return [shlex.split(line.replace("\\\n", " ")) for line in COMMAND.findall(PAGE)]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def questions() -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / "sums.jsonl").read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    use_prompts(monkeypatch, prompt_folder(tmp_path))
    engine = scripted({"Alice": ["It is four.\n\n"], "Bob": ["I say 4.\n\n"]}, answer="4")
    with served(engine, name=NAME) as found:
        yield found


def test_the_page_has_a_command_of_each_kind() -> None:
    models = set()
    for command in commands():
        if command[0] == "lm_eval":
            asked = dict(pair.split("=", 1) for pair in option(command, "--model_args").split(","))
            models.add((option(command, "--model"), asked["model"]))
            kind = {"local-completions": "completions", "local-chat-completions": "chat/completions"}
            assert asked["base_url"] == f"http://127.0.0.1:8000/v1/{kind[option(command, '--model')]}"
            assert ("--apply_chat_template" in command) == (option(command, "--model") == "local-chat-completions")
            assert ROOT / option(command, "--include_path") == FOLDER
            assert (FOLDER / f"{option(command, '--tasks')}.yaml").exists()
        else:
            provider, service, model = option(command, "--model").split("/", 2)
            models.add((provider, model))
            assert f"{service.upper()}_BASE_URL=http://127.0.0.1:8000/v1 {service.upper()}_API_KEY=" in PAGE
            assert (ROOT / command[2]).exists()
    team = f"hogwild-2/{NAME}"
    assert models == {
        ("local-chat-completions", NAME),
        ("local-chat-completions", team),
        ("local-completions", NAME),
        ("openai-api", NAME),
        ("openai-api", team),
    }
    assert f"hogwild serve {NAME}" in PAGE


def test_the_task_of_lm_eval_reads_the_questions() -> None:
    task = importlib.import_module("yaml").safe_load((FOLDER / "sums.yaml").read_text())
    assert task["task"] == "sums"
    assert task["output_type"] == "generate_until"
    assert ROOT / task["dataset_kwargs"]["data_files"]["test"] == FOLDER / "sums.jsonl"
    fields = set(re.findall(r"\{\{(\w+)\}\}", task["doc_to_text"] + task["doc_to_target"]))
    assert all(fields == set(one) for one in questions())
    sent = task["generation_kwargs"]
    assert (sent["max_gen_toks"], sent["until"]) == (BY_LM_EVAL["max_tokens"], BY_LM_EVAL["stop"])
    pattern = task["filter_list"][0]["filter"][0]["regex_pattern"]
    assert re.findall(pattern, "10 - 4 = 6")[-1] == "6"


def test_the_task_of_inspect_asks_the_same() -> None:
    code = (FOLDER / "sums.py").read_text()
    called = {
        keyword.arg: keyword.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    }
    limit = called["max_tokens"]
    assert isinstance(limit, ast.Constant)
    assert limit.value == BY_INSPECT["max_tokens"]
    assert '"sums.jsonl"' in code
    assert "Answer with the number only." in code


def test_answers_are_those_of_the_sums() -> None:
    asked = [re.fullmatch(r"What is (\d+) (\+|-|times) (\d+)\?", one["question"]) for one in questions()]
    for one, found in zip(questions(), asked, strict=True):
        assert found is not None
        a, b = int(found[1]), int(found[3])
        assert one["answer"] == str({"+": a + b, "-": a - b, "times": a * b}[found[2]])


@pytest.mark.parametrize("sent", [BY_LM_EVAL, BY_INSPECT])
@pytest.mark.parametrize("model", [NAME, f"hogwild-2/{NAME}"])
def test_the_server_takes_what_they_send(server: Served, model: str, sent: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": ASKED}], "model": model, **sent}
    with server.http("none") as http:
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    assert isinstance(message["content"], str)
    if model != NAME:
        assert message["content"].startswith("4")
        assert "It is four." in message["reasoning_content"]


def test_the_server_takes_raw_prompts_one_and_several() -> None:
    with served(scripted(), name=NAME) as server, server.http() as http:
        for prompt, count in ((ASKED, 1), ([ASKED, ASKED], 2)):
            answer = http.post("/v1/completions", json={"prompt": prompt, "model": NAME, **BY_LM_EVAL})
            assert answer.status_code == 200, answer.text
            assert [choice["index"] for choice in answer.json()["choices"]] == list(range(count))
            assert all(isinstance(choice["text"], str) for choice in answer.json()["choices"])


def test_likelihoods_are_refused_by_name(server: Served) -> None:
    body = {
        "model": NAME,
        "prompt": ASKED,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    with server.http() as http:
        answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "echo"
