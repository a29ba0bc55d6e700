"""What the tests of the evaluation share: problems, a task and methods that are made for them, on tiny engines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import prompt_folder, tiny_team_engine
from hogwild import Engine, Sampling, Team
from hogwild.bench.machine import Machine
from hogwild.errors import OptionError
from hogwild.eval.outcome import Outcome, Question, Reading, Run, TeamResult
from hogwild.eval.problem import Loaded, Problem, Score, Source
from hogwild.eval.records import Record
from hogwild.eval.results import Asked, Folder, opened
from hogwild.eval.runner import Runner

WARM = Sampling(temperature=0.8)
BUDGETS = (4, 8)
FIXED: dict[str, Any] = {
    "task": "letters", "model": "tiny", "device": "cpu", "dtype": None, "quantize": "none", "kept": False,
    "parallel": 1,
}  # fmt: skip
SESSION = {
    "machine": {
        "cpu": "a cpu", "capability": "some", "cores": 2, "threads": 1, "memory": 1 << 30, "device": "cpu",
        "system": "a system", "versions": {"hogwild": "0"}, "commit": "abc", "date": "today",
    },
    "dtype": "float32",
    "sampling": {"temperature": 0.8, "top_k": 0},
}  # fmt: skip


def problems(count: int) -> list[Problem]:
    return [Problem(f"letters/{i}", f"letter {'xyz'[i % 3] * (i + 1)}?", "x", "text") for i in range(count)]


class Letters:
    """A text is right if it has an even number of letters, and nothing if it has none."""

    name = "letters"
    answer_tokens = 4

    def load(self, source: Source) -> Loaded:
        return Loaded(problems(6)[: source.limit], "made for a test", "0" * 64)

    def score(self, problem: Problem, answer: str | None, text: str) -> Score:
        if not text:
            return Score(0.0, "nothing")
        right = len(text) % 2 == 0
        return Score(float(right), "right" if right else "wrong", (right, True))


def readings(budgets: Sequence[int], result: TeamResult) -> list[Reading]:
    """As a method reads a team of one stage."""
    found = list[Reading]()
    ends = [event for event in result.events if event.kind == "finished"]
    for budget in budgets:
        event: Any = next((one for one in result.events if one.kind == "snapshot" and one.budget == budget), None)
        event = event or (ends[0] if ends else None)
        if event is None:
            found.append(Reading(budget, None, "", 0, 0, 0.0, "error"))
            continue
        reason = event.reason if event.kind == "finished" else "budget"
        text = event.text
        tokens = sum(one.kind == "token" and one.pass_ <= budget for one in result.events)
        found.append(Reading(budget, text or None, text, min(event.pass_, budget), tokens, event.time, reason))
    return found


@dataclass(frozen=True)
class Crew:
    """A team of so many workers."""

    name: str
    workers: int
    prompt: Path

    def run(self, engine: Engine, question: Question) -> Run:
        result = (yield [self.team(engine, question)])[0]
        return Outcome(readings(question.budgets, result), [result.events], result.error)

    def team(self, engine: Engine, question: Question, **more: Any) -> Team:
        budgets = question.budgets
        options: dict[str, Any] = {
            "budget": budgets[-1], "snapshots": budgets[:-1], "seed": question.seed, "sampling": question.sampling,
            "answer_tokens": question.answer_tokens, "prompt": self.prompt,
        } | more  # fmt: skip
        return Team(engine, question.problem.question, self.workers, **options)


class Stages(Crew):
    """Two teams, then none, then one more with what they said."""

    def run(self, engine: Engine, question: Question) -> Run:
        first = yield [self.team(engine, question), self.team(engine, question, seed=question.seed + 7)]
        assert not (yield [])
        last = (yield [self.team(engine, question, budget=2, snapshots=())])[0]
        events = [one.events for one in (*first, last)]
        return Outcome(readings(question.budgets, first[0]), events, None)


class Refuses(Crew):
    """Says at once that it cannot do it."""

    def run(self, engine: Engine, question: Question) -> Run:
        raise OptionError(f"{self.name} needs parts,\nand {question.problem.id} has none")


class Breaks(Crew):
    """Has a bug of its own after its team."""

    def run(self, engine: Engine, question: Question) -> Run:
        yield [self.team(engine, question)]
        raise ZeroDivisionError("by zero")


def asked(methods: Sequence[str] = ("single", "pair"), **given: Any) -> Asked:
    fixed = FIXED | {name: given.pop(name) for name in list(given) if name in FIXED}
    amounts: dict[str, Any] = {"budgets": BUDGETS, "seeds": 1, "limit": 3} | given
    return Asked(fixed, methods, **amounts)


def methods(folder: Path) -> dict[str, Any]:
    prompt = prompt_folder(folder)
    return {
        "single": Crew("single", 1, prompt),
        "pair": Crew("pair", 2, prompt),
        "stages": Stages("stages", 2, prompt),
        "refuses": Refuses("refuses", 2, prompt),
        "breaks": Breaks("breaks", 2, prompt),
    }


def evaluate(out: Path, wanted: Asked, *, stop_after: int | None = None, tell: Any = None) -> int:
    """What ``hogwild eval run`` does, on a tiny engine; returns how many units it did."""
    task, found = Letters(), methods(out.parent / "prompt")
    count = 0
    with opened(out, wanted) as folder:
        loaded = task.load(Source(limit=wanted.limit))
        folder.check(loaded)
        if todo := folder.todo(wanted, loaded.problems):
            engine = tiny_team_engine(pages=512)
            parallel = wanted.fixed["parallel"]
            runner = Runner(engine, task, [found[name] for name in wanted.methods], WARM, parallel=parallel)
            folder.start(wanted, loaded, SESSION)
            for done in runner.run(todo):
                folder.add(done.records, done.traces)
                count += 1
                if tell is not None:
                    tell(count)
                if count == stop_after:
                    return count
            assert engine.pool.used_pages == 0
        folder.finish()
    return count


def record(problem: int, method: str, budget: int, value: float, **more: Any) -> Record:
    """A record made up."""
    given: dict[str, Any] = {
        "problem": f"p{problem}", "method": method, "seed": 0, "budget": budget, "answer": "1", "text": "1",
        "value": value, "status": "right" if value else "wrong", "parts": (), "passes": budget, "tokens": 2 * budget,
        "reason": "budget", "error": None, "seconds": budget / 10, "wall": 1.0,
    }  # fmt: skip
    return Record(**given | more)


def made_up(out: Path, records: Sequence[Record], **run: Any) -> Path:
    """A finished folder with these records."""
    names = list(dict.fromkeys(one.problem for one in records))
    wanted = Asked(
        FIXED | run, list(dict.fromkeys(one.method for one in records)), sorted({one.budget for one in records})
    )
    with opened(out, wanted) as folder:
        loaded = Loaded([Problem(name, f"{name}?", "1", "number") for name in names], "nowhere", "1" * 64)
        folder.start(wanted, loaded, SESSION)
        for one in records:
            folder.add([one], None)
        folder.finish()
    return out


def results_of(folder: Folder) -> list[tuple[str, str, int, int]]:
    return [(one.problem, one.method, one.seed, one.budget) for one in folder.sorted()]


if __name__ == "__main__":  # killed by its parent, in the middle
    Machine.here()
    evaluate(Path(sys.argv[1]), asked(), tell=lambda count: sys.stdout.write(f"{count}\n") and sys.stdout.flush())
