"""Collaboration on a scale from 1 to 6, as another model sees it: any that speaks OpenAI's API. Needs ``httpx2``."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from hogwild.bench.report import Table
from hogwild.errors import HogwildError, OptionError
from hogwild.eval.figures import bootstrap
from hogwild.eval.writing import read_writing
from hogwild.team.events import Event, Started, Token

SHOWN = 4096
"""Tokens of a run that a judge reads: the first ones, of all workers together."""

RUBRIC = """You judge how well several writers work together. They solve one task at the same time, and each can see \
what the others write. Do not judge whether the answer is right, or how well anything is written. Judge only how they \
collaborate, on this scale:

1  None. Each works as if it were alone.
2  First exchange. They greet each other, or say once what they will do, and nothing comes of it.
3  Attention. They mention what others write, but do the same as they would without.
4  Regular discussion. They talk about the work again and again: they share it out, ask and answer, compare results.
5  Adaptive. They change what they do because of what others write: they drop what is done already, correct each \
other, build on each other's results.
6  Optimal. Nothing is done twice without a reason, every result is used, and no help comes late.

Think about it in a few sentences. Then end with one line of the form "Score: N", where N is a number from 1 to 6."""

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each new try."""

_BUSY = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
_SCORE = re.compile(r"score\W*(?:is|of|=)?\W*(?:boxed\W*)?(?<![\d.])(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Judgement:
    """What a judge said of one run. ``score`` is None where none could be read in ``text``. ``run`` is the SHA-256 of
    what it was shown, ``number`` counts the judgements of one run from 1.
    """

    trace: str
    run: str
    number: int
    model: str
    score: int | None
    text: str


def parse_score(text: str) -> int | None:
    """The last score in a judge's answer, or None unless it is a whole number from 1 to 6."""
    found = _SCORE.findall(text) or re.findall(r"^\W*(\d+)\W*$", text)
    return int(found[-1]) if found and found[-1] in set("123456") else None


def transcript(*teams: Sequence[Event]) -> str:
    """A run as a judge reads it: its task, then its steps in the order in which they were begun, up to `SHOWN`.

    Several teams are shown as if they were one, each up to its share of `SHOWN`.
    """
    shown = [_first(events, SHOWN // len(teams)) for events in teams]
    writing = read_writing(shown)
    task = next((event.task for events in shown for event in events if isinstance(event, Started)), "")
    steps = (f"[{step.worker}, step {step.number}]\n{(step.prefix + step.text).strip()}" for step in writing.steps)
    return "\n\n".join([f"Task: {task}", f"Writers: {', '.join(writing.workers)}", "What they wrote:", *steps])


def _first(events: Sequence[Event], most: int) -> list[Event]:
    """The events up to so many tokens."""
    tokens = accumulate(isinstance(event, Token) for event in events)
    return [event for event, count in zip(events, tokens, strict=True) if count <= most]


class Judge:
    """A model behind an OpenAI-compatible endpoint: ``url`` ends where ``/chat/completions`` begins, as in ``.../v1``.

    ``key`` is sent as a bearer token; ``max_tokens`` of an answer; ``sleep`` waits between tries. Raises `OptionError`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        *,
        max_tokens: int = 1024,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise OptionError(f"--url {url!r} is no address: give one like http://127.0.0.1:8000/v1")
        self.model, self._max_tokens, self._sleep = model, max_tokens, sleep
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        here = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx2.Client(headers=headers, timeout=300.0, trust_env=not here)
        self._url = url.rstrip("/") + "/chat/completions"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, shown: str, seed: int) -> str:
        """What the judge says of a transcript. Raises `HogwildError`, after some tries where that may help."""
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": RUBRIC}, {"role": "user", "content": shown}],
            "max_tokens": self._max_tokens,
            "temperature": 1.0,
            "seed": seed,
        }
        for wait in (*WAITS, None):
            problem, pause = "", wait
            try:
                response = self._client.post(self._url, json=body)
            except httpx2.TransportError as error:
                problem = f"cannot be reached ({type(error).__name__})"
            else:
                if response.status_code == 200:
                    return self._read(response)
                problem = f"answers {response.status_code}: {' '.join(response.text.split())[:200]}"
                if response.status_code not in _BUSY:
                    break
                asked = response.headers.get("retry-after", "")
                pause = min(float(asked), 60.0) if wait is not None and asked.isdigit() else wait
            if pause is not None:
                self._sleep(pause)
        raise HogwildError(f"the judge at {self._url} {problem}")

    def _read(self, response: httpx2.Response) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise HogwildError(f"the judge at {self._url} sends no chat completion: give the URL of an API") from None
        return content if isinstance(content, str) else ""


def judge_runs(runs: Mapping[str, str], judge: Judge, times: int, path: Path) -> Iterator[Judgement]:
    """Have each run, a transcript by the name of its trace, judged so many times; what stands in ``path`` is not asked.

    Each judgement is appended to the file at once, one JSON object a line, and yielded, the old ones too.
    """
    known = {(one.run, one.number, one.model): one for one in read_judgements(path)}
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("" if whole else "\n")
        for trace, shown in runs.items():
            run = hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()
            for number in range(1, times + 1):
                if (one := known.get((run, number, judge.model))) is None:
                    text = judge.ask(shown, seed=number)
                    one = Judgement(trace, run, number, judge.model, parse_score(text), text)
                    file.write(json.dumps(asdict(one)) + "\n")
                    file.flush()
                yield one


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements in a file, none if there is no such file; a line that was cut off while written is left out.

    Raises `OptionError` for a file of something else.
    """
    found = list[Judgement]()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Judgement(**json.loads(line)))
        except ValueError:
            if line.startswith("{") or not line.strip():
                continue
            raise OptionError(f"{path}, line {number} is no judgement: give another file") from None
        except TypeError:
            raise OptionError(f"{path}, line {number} is no judgement: give another file") from None
    return found


def judge_table(found: Sequence[Judgement], methods: Mapping[str, str] | None = None) -> Table:
    """A line for each trace, with its scores and their mean, one for each of the ``methods`` by the names of traces,
    and one for all: the interval is that over traces.
    """
    runs = [[one for one in found if one.run == run] for run in dict.fromkeys(one.run for one in found)]
    rows, known = [_row(own) for own in runs], methods or {}
    for name in dict.fromkeys(filter(None, known.values())):
        rows += [_row_of_all([own for own in runs if known.get(own[0].trace) == name], f" of {name}")]
    rows.append(_row_of_all(runs, ""))
    return Table("Collaboration, 1 to 6", ("trace", "scores", "mean (95% interval)", "not parsable"), tuple(rows))


def _row(own: Sequence[Judgement]) -> tuple[str, ...]:
    said = " ".join("?" if one.score is None else str(one.score) for one in own)
    return own[0].trace, said, _mean(_scores(own)), str(len(own) - len(_scores(own)))


def _row_of_all(runs: Sequence[Sequence[Judgement]], whose: str) -> tuple[str, ...]:
    means = [fmean(scores) for own in runs if (scores := _scores(own))]
    lost = sum(len(own) - len(_scores(own)) for own in runs)
    return f"all {len(runs)}{whose}", "", _mean(means), str(lost)


def _scores(own: Sequence[Judgement]) -> list[int]:
    return [one.score for one in own if one.score is not None]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    found = bootstrap(np.array(values, dtype=np.float64))
    return f"{found.mean:.2f}" + (f" ({found.low:.2f} to {found.high:.2f})" if len(values) > 1 else "")


def summary(found: Sequence[Judgement]) -> dict[str, Any]:
    """The same as JSON has it."""
    return {"judgements": [asdict(one) for one in found], "not_parsable": sum(one.score is None for one in found)}
