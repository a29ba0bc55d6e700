"""Simulated teams: what they do, what they could know, and what is learnt from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import VOCAB, decode, default_tokenizer, scripted, tiny_team_engine
from hogwild import Team
from hogwild.errors import InputError, TraceError
from hogwild.team.trace import TraceWriter, read_trace
from hogwild.train.parts import words
from hogwild.train.recorder import Recorder
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.replays import read_runs, replay
from hogwild.train.simulate import simulate
from hogwild.train.tasks import TAKEN, EventMix, Mix, RunMix, TeamTask, draw_task, read_mix
from hogwild.train.trace import NO_LABEL, Trace

MIX = read_mix()
PLAIN = MIX.model_copy(update={"events": EventMix(clash=0, known=0, late=0)})


@pytest.fixture(scope="module")
def engine() -> Rehearsal:
    return Rehearsal(default_tokenizer(), VOCAB, tiny_team_engine().generation_config, 8192)


def steps(trace: Trace) -> list[str]:
    """The text of each stretch."""
    texts, first = [], 0
    for length in trace.lengths:
        texts.append(decode(trace.tokens[first : first + length]))
        first += length
    return texts


def answers(task: TeamTask, trace: Trace) -> Counter[int]:
    """How often each part was answered by workers, and rightly."""
    written = [text.split("<|im_end|>")[0] for text in steps(trace)[1:]]
    lines = [line.split("): ", 1)[-1] for text in written for line in text.split("\n\n")]
    read = [found for line in lines if (found := task.read(line)) is not None]
    assert all(task.right(*found) for found in read)
    return Counter(place for place, _ in read)


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["combined", "contiguous"])
def test_each_part_is_done_once(engine: Rehearsal, workers: int, layout: str) -> None:
    for seed in range(6):
        task = replace(draw_task(f"once {seed}", PLAIN, workers=workers), layout=layout, asked=None)
        trace = simulate(task, engine)
        assert trace.info["reason"] == "done"
        assert answers(task, trace) == Counter(range(len(task.parts)))


def test_several_are_faster_than_one(engine: Rehearsal) -> None:
    passes = dict.fromkeys((1, 2, 4), 0)
    for workers in passes:
        for seed in range(8):
            task = replace(draw_task(f"fast {seed}", PLAIN, workers=4), asked=None, layout="combined")
            passes[workers] += simulate(replace(task, names=task.names[:workers]), engine).info["passes"]
    assert passes[2] < 0.65 * passes[1]
    assert passes[4] < 0.5 * passes[1]


def test_one_states_the_final_answer(engine: Rehearsal) -> None:
    for seed in range(12):
        task = replace(draw_task(f"final {seed}", PLAIN, workers=3), asked=0, layout="combined")
        trace = simulate(task, engine)
        text = "".join(steps(trace))
        assert trace.info["reason"] == "answer"
        assert text.count(f"\\boxed{{{task.parts[0].answer}}}") == 1


def test_interleaved_workers_begin_at_different_ends(engine: Rehearsal) -> None:
    task = replace(draw_task("ends", PLAIN, workers=2), layout="interleaved", asked=None)
    done = answers(task, simulate(task, engine))
    assert set(done) == set(range(len(task.parts)))


def test_a_clash_is_noticed_and_not_learnt(engine: Rehearsal) -> None:
    seen = 0
    for seed in range(20):
        task = replace(draw_task(f"clash {seed}", PLAIN, workers=2), clash=True, layout="combined", asked=None)
        trace = simulate(task, engine)
        assert set(answers(task, trace).values()) == {1}
        for text, first, length in zip(steps(trace), offsets(trace), trace.lengths, strict=True):
            if TAKEN in text:
                seen += 1
                tokens = trace.tokens[first : first + length]
                begin = next(i for i in range(length) if decode(tokens[:i]).endswith("): "))
                learnt = [label for label in trace.labels[first + begin - 1 : first + length] if label != NO_LABEL]
                assert decode(learnt).removesuffix("<|im_end|>").strip() == f"{TAKEN}."
    assert seen > 3


def offsets(trace: Trace) -> list[int]:
    return [sum(trace.lengths[:index]) for index in range(len(trace.lengths))]


def test_what_is_in_the_history_is_not_done_again(engine: Rehearsal) -> None:
    for seed in range(6):
        task = replace(draw_task(f"known {seed}", PLAIN, workers=2), known=1, layout="combined", asked=None)
        done = answers(task, simulate(task, engine))
        assert done == Counter(place for place in range(len(task.parts)) if place != 1)


def test_a_worker_that_joins_late_helps(engine: Rehearsal) -> None:
    mix = PLAIN.model_copy(update={"task": PLAIN.task.model_copy(update={"parts": (10, 10)})})
    task = replace(draw_task("late", mix, workers=3), late=6, layout="combined", asked=None)
    trace = simulate(task, engine)
    text = "".join(steps(trace))
    assert answers(task, trace) == Counter(range(10))
    assert text.count(f"{task.names[-1]} (") > 1


def test_who_needs_a_result_waits_for_it(engine: Rehearsal) -> None:
    mix = PLAIN.model_copy(update={"task": PLAIN.task.model_copy(update={"parts": (3, 3)})})
    waited = 0
    for seed in range(20):
        task = replace(draw_task(f"chain {seed}", mix, workers=3, kinds=["sum", "add"]), layout="combined", asked=None)
        trace = simulate(task, engine)
        waited += "..." in "".join(steps(trace)[1:])
        assert answers(task, trace) == Counter(range(3))
    assert waited > 5


def test_labels_are_a_workers_next_token(engine: Rehearsal) -> None:
    """What is behind a token in its stretch is its label, where it has one and is not the last."""
    trace = simulate(replace(draw_task("labels", PLAIN, workers=2), layout="combined"), engine)
    ends = {first + length - 1 for first, length in zip(offsets(trace), trace.lengths, strict=True)}
    for place, label in enumerate(trace.labels):
        if label != NO_LABEL and place not in ends:
            assert trace.tokens[place + 1] == label
    assert trace.labels[: trace.lengths[0] - 1] == (NO_LABEL,) * (trace.lengths[0] - 1)  # the prompt


def test_tasks_are_drawn_by_seed_and_some_are_kept_aside() -> None:
    assert draw_task("a", MIX) == draw_task("a", MIX)
    assert draw_task("a", MIX) != draw_task("b", MIX)
    trained, kept = ([draw_task(f"{i}", MIX, kept=kept) for i in range(60)] for kept in (False, True))
    assert not {task.label for task in trained} & {task.label for task in kept}
    assert not {name for task in trained for name in task.names} & {name for task in kept for name in task.names}
    ours, theirs = ({part.question for task in tasks for part in task.parts} for tasks in (trained, kept))
    assert not ours & theirs
    for kind in ("capital", "opposite", "young"):
        sides = [{str(fact[0]) for fact in words()["facts"][kind][side]} for side in ("train", "kept")]
        assert not sides[0] & sides[1]


FULL = "[kinds]\nsum = 1\n[workers]\n2 = 1\n[layouts]\ncombined = 1\n[prompts]\nshort = 1\n"


def test_a_mix_that_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "mix.toml").write_text(FULL + "[task]\nparts = 3\n")
    with pytest.raises(InputError, match=r"task\.parts"):
        read_mix(tmp_path / "mix.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_mix(tmp_path / "none.toml")
    (tmp_path / "mix.toml").write_text("kinds")
    with pytest.raises(InputError, match="no TOML"):
        read_mix(tmp_path / "mix.toml")


# Runs of real teams.

STEPS = {"Alice": ["I take one. It is red.\n\n", "Done. \\boxed{red}.\n\n"], "Bob": ["Two is blue as ever.\n\n"]}


def a_run(path: Path, prompt: Path, answer: str = "boxed", **options: Any) -> Trace:
    """Runs a team, with its trace in a file; what a recorder has seen of it."""
    real = scripted(STEPS)
    with Recorder(real) as recorder, TraceWriter(path) as writer:
        for event in Team(real, "Colours?", 2, prompt=str(prompt), answer=answer, budget=40, **options).run():
            writer.write(event)
        return recorder.trace()


def test_a_run_is_done_again_from_its_events(engine: Rehearsal, tmp_path: Path, prompt: Path) -> None:
    real = a_run(tmp_path / "run.jsonl", prompt, layout="interleaved")
    again = replay(read_trace(tmp_path / "run.jsonl"), engine)
    assert (again.tokens, again.lengths, again.rows) == (real.tokens, real.lengths, real.rows)
    assert again.learnt == sum(event.kind in ("token", "answer_token") for event in read_trace(tmp_path / "run.jsonl"))


def test_only_runs_that_count(engine: Rehearsal, tmp_path: Path, prompt: Path) -> None:
    a_run(tmp_path / "a.jsonl", prompt)
    a_run(tmp_path / "b.jsonl", prompt, answer="text")
    mix = RunMix(files=("*.jsonl",), reasons=("answer",))
    assert [Path(str(trace.info["run"])).name for trace in read_runs(mix, tmp_path, engine)] == ["a.jsonl"]
    (tmp_path / "answers.json").write_text('{"Colours?": "green"}')
    with pytest.raises(InputError, match="no run has ended"):
        list(read_runs(mix.model_copy(update={"answers": "answers.json"}), tmp_path, engine))
    with pytest.raises(InputError, match="no file matches"):
        list(read_runs(RunMix(files=("*.none",)), tmp_path, engine))


def test_a_run_of_another_tokenizer_is_refused(tmp_path: Path, prompt: Path) -> None:
    a_run(tmp_path / "a.jsonl", prompt)
    small = Rehearsal(default_tokenizer(), 40, tiny_team_engine().generation_config, 8192)
    with pytest.raises(TraceError, match="does not know"):
        replay(read_trace(tmp_path / "a.jsonl"), small)


def test_a_mix_with_runs_is_read(tmp_path: Path) -> None:
    (tmp_path / "mix.toml").write_text(FULL + "[runs]\nfiles = ['x']\n")
    mix: Mix = read_mix(tmp_path / "mix.toml")
    assert mix.runs is not None
    assert (mix.runs.share, mix.workers) == (0.5, {2: 1.0})
