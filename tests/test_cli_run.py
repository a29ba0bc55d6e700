"""``hogwild run``: what may be asked for, what is shown, and what Ctrl-C does. The team is made up."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli_story import parse, story
from hogwild.cli import main, request, watch
from hogwild.cli.request import Request
from hogwild.errors import CacheFull, InputError, OptionError
from hogwild.team import events as ev
from hogwild.team.trace import read_trace


class FakeTeam:
    """Tells a story; ``after`` is called after every event, and a stop leads to the last four events."""

    def __init__(self, after: Callable[[int], None] = lambda number: None) -> None:
        self.events = story(words=4)
        self.after = after
        self.stopped = 0

    def run(self) -> Iterator[ev.Event]:
        for number, event in enumerate(self.events[:-4]):
            if self.stopped:
                break
            yield event
            self.after(number)
        yield from self.events[-4:]

    def stop(self) -> None:
        self.stopped += 1


class Stage:
    """Puts a fake team in the place of the real one, and keeps what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.team = FakeTeam()
        self.request: Request | None = None
        monkeypatch.setattr(watch, "open_team", self.open)

    def open(self, asked: Request) -> FakeTeam:
        self.request = asked
        return self.team


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_plain_lines_where_nobody_watches(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "What is 17 × 24?"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-2] == "answer: It is 408."
    assert printed.err == ""


def test_quiet_and_json(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "task", "--quiet"]) == 0
    assert capsys.readouterr().out == "It is 408.\n"
    assert main(["run", "task", "--json"]) == 0
    assert parse(capsys.readouterr().out) == stage.team.events


def test_the_trace_holds_every_event(stage: Stage, tmp_path: Path) -> None:
    assert main(["run", "task", "-q", "--trace", str(tmp_path / "run.jsonl")]) == 0
    assert read_trace(tmp_path / "run.jsonl") == stage.team.events


def test_every_option_reaches_the_team(stage: Stage, tmp_path: Path) -> None:
    options = (
        "--names Ann,Ben,Cy --layout interleaved --budget 99 --part one --part two --answer number --on-full drop "
        "--snapshots 64,16 --drafts 5 --seed 7 -t 0.5 --top-p 0.9 --top-k 20 --min-p 0.1 --repetition-penalty 1.1 "
        "--presence-penalty -1 --frequency-penalty 0.5 "
        "--model some/model --device cuda --dtype float32 --kv-memory 1.5GiB --trust-remote-code -q"
    )
    assert main(["run", "the task", "--prompt-dir", str(tmp_path), *options.split()]) == 0
    assert stage.request == Request(
        task="the task", model="some/model", workers=3, names=("Ann", "Ben", "Cy"), layout="interleaved", budget=99,
        seed=7, sampling={"temperature": 0.5, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1,
                          "presence_penalty": -1, "frequency_penalty": 0.5},
        prompt=tmp_path, assign=("one", "two"), answer="number", on_full="drop", snapshots=(16, 64), drafts=5,
        device="cuda", dtype="float32", kv_memory=3 * 2**29, trust_remote_code=True,
    )  # fmt: skip
    team = stage.request.team_options()
    assert team["assign"] == ["one", "two"]
    assert team["names"] == ["Ann", "Ben", "Cy"]
    assert team["prompt"] == str(tmp_path)
    assert stage.request.engine_options()["kv_memory"] == 3 * 2**29


def test_a_schema_comes_from_a_file(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}')
    assert main(["run", "the task", "-q", "--schema", str(file)]) == 0
    assert stage.request is not None
    assert stage.request.team_options()["schema"] == {"type": "integer"}
    for text, problem in (("[1]", "holds no JSON object"), ("{", "is no JSON"), (None, "cannot be read")):
        file.unlink()
        if text is not None:
            file.write_text(text)
        assert main(["run", "the task", "--schema", str(file)]) == 2
        assert problem in capsys.readouterr().err
        file.touch()


def test_what_is_not_said_is_left_to_the_model_and_the_team(stage: Stage) -> None:
    assert main(["run", "the task", "-q"]) == 0
    assert stage.request == Request(task="the task", model="smollm2-135m-instruct")
    assert stage.request.sampling == {}


def test_the_choices_are_those_of_the_team() -> None:
    from hogwild.api import DEFAULT_MODEL
    from hogwild.cli.options import DEFAULT_MODEL as OURS
    from hogwild.team.layout import make_layout
    from hogwild.team.settings import ANSWER_TOKENS, ON_FULL
    from hogwild.team.worker import MAX_WORKERS

    assert OURS == DEFAULT_MODEL
    assert {make_layout(name).name for name in request.LAYOUTS} == set(request.LAYOUTS)
    assert set(request.ANSWERS) == set(ANSWER_TOKENS)
    assert set(request.ON_FULL) == set(ON_FULL)
    assert request.MAX_WORKERS == MAX_WORKERS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("task --workers 0", "--workers: 0 is out of range; give 1 to 16"),
        ("task --workers 17", "--workers: 17 is out of range; give 1 to 16"),
        ("task --workers many", "Invalid value for '--workers'"),
        ("task --layout spiral", "--layout: unknown value 'spiral'; give one of combined, contiguous, interleaved"),
        ("task --budget 0", "--budget: 0 is out of range; give 1 or more"),
        ("task --seed -1", "--seed"),
        ("task --temperature nan", "--temperature: nan is out of range"),
        ("task --top-p 1.5", "--top-p: 1.5 is out of range; give 0 to 1"),
        ("task --names A,A", "--names"),
        ("task --names A,,B", "--names"),
        ("task --names A,B --workers 3", "--names: 2 given for 3 workers; give one for each"),
        ("task --snapshots 16,x", "--snapshots"),
        ("task --drafts -1", "--drafts"),
        ("task --kv-memory 2", "--kv-memory: '2' is no size; give a number with a unit, like 2GB or 512MiB"),
        ("task --kv-memory lots", "--kv-memory"),
        ("task --kv-memory -1GB", "--kv-memory"),
        ("task --assign all", "--assign"),
        ("task --assign plan --part x", "--part and --assign cannot be had together"),
        ("task --prompt x", "--prompt"),
        ("task --prompt code --prompt-dir .", "--prompt and --prompt-dir"),
        ("task --prompt-dir ./nowhere", "--prompt-dir: there is no folder 'nowhere'"),
        ("task --trace ./nowhere/run.jsonl", "--trace"),
        ("task --json --quiet", "--json and --quiet"),
        ("./nope.txt", "the task file './nope.txt' cannot be read: No such file or directory"),
        ("nope.md", "the task file 'nope.md' cannot be read"),
        ("/nope", "the task file '/nope' cannot be read"),
        ("", "Missing argument 'TASK'"),
        ("task --spiral", "No such option: --spiral"),
    ],
)
def test_bad_options_are_one_line(stage: Stage, capsys: pytest.CaptureFixture[str], arguments: str, told: str) -> None:
    assert main(["run", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hogwild: error: ")
    assert printed.err.count("\n") == 1
    assert told in printed.err
    assert stage.request is None


@pytest.mark.parametrize(
    "task",
    ["Explain node.js", "1/2+1/3=?", "and/or", "What is in ./nope.txt ?", "x" * 5000, "a\0b", "3.11 or 3.9"],
)
def test_words_are_a_task(task: str) -> None:
    assert request.read_task(task) == task


def test_a_task_from_a_file_and_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my task.txt").write_text("\ufeffFrom a file: ×\n", encoding="utf-8")
    assert request.read_task(str(tmp_path / "my task.txt")) == "From a file: ×"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("typed: ×\n".encode())))
    assert request.read_task("-") == "typed: ×"


@pytest.mark.parametrize(
    ("content", "told"), [(b" \n", "is empty"), (b"\xff\xfe\x00", "not UTF-8"), (b"a" * 10_000_001, "larger than")]
)
def test_a_task_file_that_cannot_be_one(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "task.txt").write_bytes(content)
    with pytest.raises(InputError, match=told):
        request.read_task(str(tmp_path / "task.txt"))


def test_a_folder_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        request.read_task(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "size"), [("2GB", 2 * 10**9), ("512 MiB", 2**29), ("1.5g", 15 * 10**8), ("64kb", 64_000), ("1TiB", 2**40)]
)
def test_sizes(given: str, size: int) -> None:
    assert request.parse_bytes("--kv-memory", given) == size


def test_a_request_is_checked_also_without_the_command() -> None:
    with pytest.raises(OptionError, match="--workers: 17"):
        Request(task="t", model="m", workers=17)


def test_the_first_interrupt_asks_for_the_answer(
    stage: Stage, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    stage.team.after = lambda number: signal.raise_signal(signal.SIGINT) if number == 9 else None
    assert main(["run", "task", "--trace", str(tmp_path / "run.jsonl")]) == 0
    assert stage.team.stopped == 1
    assert "answer: It is 408." in capsys.readouterr().out
    assert len(read_trace(tmp_path / "run.jsonl")) == 14
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_ends_at_once_and_the_trace_is_whole(
    stage: Stage, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupt_twice(number: int) -> None:
        if number == 9:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    stage.team.after = interrupt_twice
    assert main(["run", "task", "--trace", str(tmp_path / "run.jsonl")]) == 130
    assert "answer" not in capsys.readouterr().out
    assert read_trace(tmp_path / "run.jsonl") == stage.team.events[:10]


def test_what_the_team_raises_is_one_line_after_the_rest(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(number: int) -> None:
        if number == 9:
            raise CacheFull("the pool is full;\n\x1b[31mfree a block")

    stage.team.after = fail
    assert main(["run", "task"]) == 3
    printed = capsys.readouterr()
    assert printed.err == "hogwild: error: the pool is full; free a block\n"
    assert printed.out.startswith("-- tiny")
