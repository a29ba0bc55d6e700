"""The page's fold over events, run by node: it shows what the terminal's fold (`hogwild.cli.board.Board`) shows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli_story import lines, story
from hogwild.cli.board import Board
from hogwild.team import events as ev

PAGE = Path(__file__).resolve().parent.parent / "src" / "hogwild" / "server" / "page"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is not installed: the page's fold is tested in the browser only"
)

SCRIPT = """
import { readFileSync } from "node:fs";
import { apply, initial, rate, written } from "./state.js";
import { describe, pieces } from "./pieces.js";
import { Run, Track, parseTrace } from "./run.js";
const text = readFileSync(process.argv[2], "utf8");
const run = parseTrace(text);
const frozen = (value) => {
  const open = value && typeof value === "object" && !Object.isFrozen(value);
  if (open) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
};
const states = [initial];
for (const event of run.events) states.push(frozen(apply(states.at(-1), frozen(event))));
const track = new Track();
run.events.forEach((event) => track.push(event));
const told = states.map((state, at) => ({
  state,
  same: JSON.stringify(run.at(at)) === JSON.stringify(state),
  until: run.until(state.time) >= at,
  rate: rate(state),
  written: written(state),
  views: state.workers.map((worker) => pieces(state, worker)),
  words: state.workers.map((worker) => describe(worker, pieces(state, worker))),
}));
console.log(JSON.stringify({ told, lanes: track.lanes, edges: track.edges, same: run.text() === text }));
"""


def fold(tmp_path: Path, events: list[ev.Event]) -> dict[str, Any]:
    """What the page's modules make of a run, after each event."""
    for name in ("state.js", "pieces.js", "run.js"):
        shutil.copy(PAGE / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "told.js").write_text(SCRIPT)
    compact = "".join(
        json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False) + "\n"
        for line in lines(events).splitlines()
    )
    (tmp_path / "trace.jsonl").write_text(compact)
    assert NODE is not None
    done = subprocess.run([NODE, "told.js", "trace.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@needs_node
@pytest.mark.parametrize("workers", [1, 3])
def test_the_page_shows_what_the_terminal_shows(tmp_path: Path, workers: int) -> None:
    events = story(workers=workers, steps=2, words=7)
    told = fold(tmp_path, events)["told"]
    board = Board()
    for event, one in zip(events, told[1:], strict=True):
        board.apply(event)
        state = one["state"]
        assert [worker["name"] for worker in state["workers"]] == list(board.workers)
        for shown, worker in zip(state["workers"], board.workers.values(), strict=True):
            assert (shown["text"], shown["step"], shown["tokens"]) == (worker.text, worker.step, worker.tokens)
            assert (shown["status"], shown["index"]) == (worker.status, worker.index)
        assert [entry["kind"] for entry in state["history"]] == [entry.kind for entry in board.history]
        assert (state["passes"], state["time"]) == (board.passes, board.time)
        assert (state["answer"], one["written"]) == (board.answer, board.tokens)
        assert one["rate"] == pytest.approx(board.rate(board.tokens))
    steps = [entry["text"] for entry in told[-1]["state"]["history"] if entry["kind"] == "step"]
    assert steps == [entry.text for entry in board.history if entry.kind == "step"]
    assert told[-1]["state"]["phase"] == "finished"


@needs_node
def test_any_moment_can_be_shown_again_and_the_trace_is_kept(tmp_path: Path) -> None:
    told = fold(tmp_path, story(workers=4, steps=3, words=60))
    assert len(told["told"]) > 600  # more than two of the states that a run keeps
    assert all(one["same"] and one["until"] for one in told["told"])
    assert told["lanes"][0]["name"] == "Alice"
    assert [step["step"] for step in told["lanes"][0]["steps"]] == [1, 2, 3, 4]
    assert all(step["from"] < step["to"] for lane in told["lanes"][:4] for step in lane["steps"])


@needs_node
def test_views_are_in_the_order_of_the_layout(tmp_path: Path) -> None:
    def kinds(layout: str) -> list[tuple[str, int]]:
        events = story(workers=2, steps=2, words=5)
        begun = events[0]
        assert isinstance(begun, ev.Started)
        events[0] = begun.model_copy(update={"layout": layout})
        (told,) = [one for one in fold(tmp_path, events)["told"] if one["state"]["seen"] == 24]
        view = told["views"][0]
        assert told["words"][0].startswith(f"Alice sees {sum(piece['tokens'] for piece in view)} tokens: the task 630")
        return [(piece["kind"], piece["index"]) for piece in view]

    past = [("step", 0), ("step", 1)]
    assert kinds("combined") == [("prompt", -1), *past, ("other", 1), ("private", 0), ("own", 0)]
    assert kinds("interleaved") == [("prompt", -1), *past, ("private", 0), ("own", 0)]
    assert kinds("contiguous") == [("prompt", -1), past[1], ("other", 1), past[0], ("private", 0), ("own", 0)]


@needs_node
def test_steps_that_left_the_view_are_in_no_strip(tmp_path: Path) -> None:
    told = fold(tmp_path, story(workers=2, steps=2, words=3))["told"]
    before = next(one for one in told if one["state"]["history"] and one["state"]["history"][-1]["kind"] == "said")
    after = told[before["state"]["seen"] + 1]
    count = [sum(piece["kind"] == "step" for piece in one["views"][0]) for one in (before, after)]
    assert count == [4, 3]
    assert [entry.get("gone") for entry in after["state"]["history"] if entry["kind"] == "step"][:2] == [True, None]


@needs_node
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The file holds no event."),
        ("no", "Line 1 is no JSON"),
        ('{"a": 1}\n', "Line 1 is no event"),
        ('{"kind": "token", "time": 0}\n', "lacks its beginning"),
        ('{"kind": "started", "time": 0, "format": 2, "workers": []}\n', "of format 2"),
    ],
)
def test_what_is_no_trace_is_told_in_a_sentence(tmp_path: Path, text: str, problem: str) -> None:
    for name in ("state.js", "run.js"):
        shutil.copy(PAGE / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "told.js").write_text(
        f'import {{ parseTrace }} from "./run.js";\n'
        f"try {{ parseTrace({json.dumps(text)}) }} catch (error) {{ console.log(error.message) }}"
    )
    assert NODE is not None
    done = subprocess.run([NODE, "told.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert problem in done.stdout
