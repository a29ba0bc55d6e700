"""What is written is read again, and what cannot be read is named by file and line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild.errors import HogwildError, OptionError, TraceError
from hogwild.team import events
from hogwild.team.events import Event
from hogwild.team.trace import TraceWriter, read_trace

STARTED = events.Started(
    pass_=0,
    time=0.0,
    task="2 + 2\n“é”",
    model="tiny",
    workers=["Alice", "Bob"],
    layout="combined",
    budget=8,
    seeds=[0, 0],
    settings={"sampling": [{"stop": ["x"], "top_p": 0.5}], "folder": None},
)
RUN: list[Event] = [
    STARTED,
    events.Token(pass_=1, time=0.25, worker="Alice", step=1, token=7, text="four 🎉\u2028"),
    events.AnswerFound(pass_=2, time=0.5, worker="Alice", step=1, answer="4"),
    events.Finished(
        pass_=2,
        time=0.75,
        answer="4",
        text="4",
        reason="answer",
        passes=2,
        tokens={"Alice": 2},
        prompt_tokens=3,
        prefill_seconds=0.1,
        decode_seconds=0.2,
    ),
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with TraceWriter(path) as writer:
        for event in RUN:
            writer.write(event)
    return path


def test_what_is_written_is_read_again(trace: Path) -> None:
    assert read_trace(trace) == RUN
    assert read_trace(str(trace)) == RUN


def test_a_line_an_event_with_its_json_names(trace: Path) -> None:
    lines = trace.read_text(encoding="utf-8").split("\n")
    assert len(lines) == len(RUN) + 1
    assert '"pass": 1' in lines[1]
    assert "pass_" not in trace.read_text(encoding="utf-8")


def test_the_file_is_whole_after_each_event(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = TraceWriter(path)
    for count, event in enumerate(RUN, 1):
        writer.write(event)
        assert read_trace(path) == RUN[:count]
    writer.close()
    writer.close()


def test_an_exception_leaves_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    def interrupted() -> None:
        with TraceWriter(path) as writer:
            writer.write(STARTED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_trace(path) == [STARTED]


def test_a_new_run_replaces_an_old_trace(trace: Path) -> None:
    with TraceWriter(trace) as writer:
        assert read_trace(trace) == []
        writer.write(STARTED)
    assert read_trace(trace) == [STARTED]


def test_half_a_character_does_not_lose_the_run(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "run.jsonl") as writer:
        writer.write(events.Said(pass_=0, time=0, name="You", text="a\udcffb"))
    assert read_trace(tmp_path / "run.jsonl") == [events.Said(pass_=0, time=0, name="You", text="a?b")]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"trace='.*no/run.jsonl' cannot be written \(No such file.*make its folder"):
        TraceWriter(tmp_path / "no" / "run.jsonl")
    with pytest.raises(OptionError, match="cannot be written"):
        TraceWriter(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_clear_line() -> None:
    writer = TraceWriter("/dev/full")
    with pytest.raises(HogwildError, match="the trace '/dev/full' cannot be written any more: No space left"):
        writer.write(STARTED)
    writer.close()


def test_the_last_line_may_be_cut_anywhere(trace: Path) -> None:
    whole = trace.read_bytes()
    begin = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(begin, len(whole) - 1):
        trace.write_bytes(whole[:end])
        assert read_trace(trace) == RUN[:-1]
    trace.write_bytes(whole[:-1])  # only the line's end is missing
    assert read_trace(trace) == RUN


def test_a_character_may_be_cut(trace: Path) -> None:
    whole = trace.read_bytes()
    trace.write_bytes(whole[: whole.index("🎉".encode()) + 2])
    assert read_trace(trace) == RUN[:1]


def test_empty_lines_are_passed_over(trace: Path) -> None:
    trace.write_bytes(trace.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert read_trace(trace) == RUN
    trace.write_bytes(b"")
    assert read_trace(trace) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "Invalid JSON"),
        (b'{"kind": "tok', "Invalid JSON"),
        (b"[]", "object"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b'{"kind": "danced", "pass": 1, "time": 0}', "danced"),
        (b'{"kind": "steps_dropped", "pass": 1, "time": 0}', "count: Field required"),
        (b'{"kind": "steps_dropped", "pass": 1, "time": 0, "count": 1, "more": 2}', "more: Extra inputs"),
    ],
)
def test_a_line_that_is_no_event_is_named(trace: Path, line: bytes, reason: str) -> None:
    lines = trace.read_bytes().split(b"\n")
    trace.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(TraceError) as error:
        read_trace(trace)
    assert f"{trace}, line 3 is not an event" in str(error.value)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"hello", b"[1, 2]", b'{"kind": "danced", "pass": 1, "time": 0}'])
def test_a_file_of_another_kind_is_not_taken_for_a_cut_trace(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(TraceError, match="line 1 is not an event"):
        read_trace(tmp_path / "other")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "run.jsonl") as writer:
        writer.write(STARTED.model_copy(update={"format": 2}))
    with pytest.raises(TraceError, match="line 1 is of format 2, and this version reads 1: upgrade hogwild"):
        read_trace(tmp_path / "run.jsonl")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none.jsonl' cannot be read: No such file"):
        read_trace(tmp_path / "none.jsonl")


@given(st.binary(max_size=60))
def test_no_file_makes_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    with suppress(TraceError):
        assert all(event.pass_ >= 0 for event in read_trace(path))
