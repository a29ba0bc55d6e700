"""Training traces from runs of real teams: the events of ``hogwild run --trace``, done again without the model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hogwild import Team, Worker
from hogwild.errors import InputError, TraceError
from hogwild.sampling import Sampling
from hogwild.team.events import AnswerToken, Event, Finished, Started, Token
from hogwild.team.finisher import ANSWERER
from hogwild.team.record import Record
from hogwild.team.trace import read_trace
from hogwild.train.recorder import Recorder
from hogwild.train.rehearsal import Rehearsal
from hogwild.train.tasks import RunMix
from hogwild.train.trace import Trace

UNKNOWN = {"said", "tool_called", "tool_returned", "worker_joined", "snapshot"}
"""Events of runs that are left out: a trace does not tell all that is needed to do them again."""


class _Again(Record):
    """Everybody writes what was written; who has no more ends the turn."""

    def __init__(self, written: dict[Hashable, list[int]], end: int, recorder: Recorder) -> None:
        super().__init__()
        self._written, self._end, self._recorder = written, end, recorder

    def draw(self, writer: Hashable, index: int, sample: Callable[[], int]) -> int:
        """Token ``index`` of a worker, or of the finisher."""
        self.tick()
        tokens = self._written.get(writer, [])
        token = tokens[index] if index < len(tokens) else self._end
        self._recorder.drawn(token)
        return token


def find_runs(mix: RunMix, beside: Path) -> list[Path]:
    """The files that a mix names, in order; patterns count from the folder ``beside``. `InputError` for none."""
    found = [path for pattern in mix.files for path in sorted(beside.glob(pattern))]
    if not found:
        raise InputError(f"runs.files: no file matches {', '.join(mix.files)} in {str(beside)!r}")
    return found


def read_runs(mix: RunMix, beside: Path, engine: Rehearsal) -> Iterator[Trace]:
    """A trace of every run that counts. Raises `InputError` where none does."""
    answers, count = _read_answers(mix, beside), 0
    for path in find_runs(mix, beside):
        events = read_trace(path)
        if _counts(events, mix, answers):
            count += 1
            yield replay(events, engine, str(path))
    if not count:
        raise InputError("runs.files: no run has ended as runs.reasons and runs.answers ask for")


def _read_answers(mix: RunMix, beside: Path) -> dict[str, str] | None:
    if mix.answers is None:
        return None
    try:
        answers: dict[str, str] = json.loads((beside / mix.answers).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"runs.answers: {mix.answers!r} cannot be read as JSON: {error}") from None
    return answers


def _counts(events: Sequence[Event], mix: RunMix, answers: dict[str, str] | None) -> bool:
    """Whether a run is whole, can be done again, and ended as asked for."""
    if not events or not isinstance(events[0], Started) or not isinstance(events[-1], Finished):
        return False
    if UNKNOWN & {event.kind for event in events} or events[0].settings.get("assign") == "plan":
        return False
    if events[-1].reason not in mix.reasons:
        return False
    return answers is None or answers.get(events[0].task) == events[-1].answer


def replay(events: Sequence[Event], engine: Rehearsal, name: str = "the run") -> Trace:
    """Do a run again with the tokens that were written.

    Raises `TraceError` where they are those of another tokenizer than the engine's, or the run goes another way.
    """
    started, finished = events[0], events[-1]
    if not isinstance(started, Started) or not isinstance(finished, Finished):
        raise TraceError(f"{name} is not whole: it has no beginning or no end")
    written = defaultdict[Hashable, list[int]](list)
    for event in events:
        if isinstance(event, Token):
            written[started.workers.index(event.worker)].append(event.token)
        elif isinstance(event, AnswerToken):
            written[ANSWERER, 1].append(event.token)
    tokens = [token for one in written.values() for token in one]
    if any(not 0 <= token < engine.vocab_size for token in tokens):
        raise TraceError(f"{name} has tokens that this model does not know: train a model with the run's tokenizer")
    with Recorder(engine) as recorder:
        task = started.settings.get("messages", started.task)
        team = Team(engine, task, [Worker(one) for one in started.workers], **_options(started))
        team.setup.record = _Again(dict(written), team.codec.end_ids[0], recorder)
        texts = [event.text for event in team.run() if isinstance(event, Token)]
        if texts != [event.text for event in events if isinstance(event, Token)] or team.passes != finished.passes:
            raise TraceError(f"{name} goes another way here: it was made with another tokenizer or version")
        return recorder.trace({"run": name, "workers": len(started.workers), "passes": team.passes})


def _options(started: Started) -> dict[str, Any]:
    """A team's options, as far as they have to do with what was seen."""
    left_out = {"tools", "schema", "drafts", "logprobs", "snapshots", "messages"}
    options = {key: value for key, value in started.settings.items() if key not in left_out}
    sampling = options.pop("sampling")[0]
    return options | {"share_prompts": False, "sampling": Sampling(**sampling | {"stop": tuple(sampling["stop"])})}
