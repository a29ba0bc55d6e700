"""A trace for training: which token was fed in which pass, and what its worker saw then.

The tokens of a run are cut into *stretches*: whoever sees a token of one sees all before it in the stretch, right
before it. So every view, at every pass, is a list of stretches, each visible up to some length. A step that moves to
the history is the same stretch in another place of the later views, and what moved is not computed again: its keys
turn, its hidden states stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from hogwild.attention import Plan, Reading
from hogwild.cache import Block
from hogwild.errors import TraceError

NO_LABEL = -100
"""The label of a token behind which nobody has written, as torch's cross entropy has it."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fed:
    """Tokens that one row of pass ``number`` brought: ``count`` of ``stretch``, from its token ``begin`` on.

    ``view`` is what they see, as pairs (stretch, visible length). Their own stretch is the last one, visible up to
    each of them.
    """

    stretch: int
    begin: int
    count: int
    number: int
    view: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Trace:
    """One run of a team.

    Attributes:
        tokens: of all stretches, one after the other.
        labels: what was written behind each token, and is to be learnt; or `NO_LABEL`.
        lengths: of the stretches.
        rows: what was fed, in the order of the tokens.
        info: what is known of the run, as JSON has it.
    """

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    lengths: tuple[int, ...]
    rows: tuple[Fed, ...]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def learnt(self) -> int:
        """How many tokens have a label."""
        return sum(label != NO_LABEL for label in self.labels)

    def plan(self, device: torch.device) -> Plan:
        """The plan of attention for one forward over all ``tokens``, whose slots are their places [T]."""
        first = [0, *accumulate(self.lengths)]
        pool, stretches = _Packed(device), dict[tuple[int, int], Block]()

        def stretch(index: int, copy: int) -> Block:
            if (index, copy) not in stretches:
                # A plan asks nothing else of a block than this one knows.
                stretches[index, copy] = cast(Block, _Stretch(first[index], pool))
            return stretches[index, copy]

        readings = []
        for row in self.rows:
            seen = [index for index, _ in row.view]
            copies = [seen[place + 1 :].count(index) for place, index in enumerate(seen)]  # of what is seen twice
            readings.append(
                Reading(
                    view=tuple(map(stretch, seen, copies)),
                    lengths=tuple(length for _, length in row.view),
                    count=row.count,
                )
            )
        return Plan(readings, torch.arange(len(self.tokens)))


@dataclass(frozen=True)
class _Packed:
    """What stands for the pool: pages of one token, so that nothing is read that nobody sees."""

    device: torch.device
    page_size: int = 1


@dataclass(frozen=True, eq=False)
class _Stretch:
    """A stretch in the place of a block, whose tokens stand behind each other from slot ``first`` on."""

    first: int
    pool: _Packed

    def runs(self, begin: int, end: int) -> list[tuple[int, int]]:
        """See `Block.runs`."""
        return [(self.first + begin, self.first + end)]


@dataclass(frozen=True)
class Row:
    """Tokens that were fed together in pass ``number``: the last ``count`` of ``view``, all that their worker saw [L].

    A view holds the numbers of tokens, counted from 0 in the order in which they were fed.
    """

    view: Numbers
    count: int
    number: int


def make_trace(
    tokens: Sequence[int], labels: Mapping[int, int], rows: Sequence[Row], info: Mapping[str, Any] | None = None
) -> Trace:
    """A trace from what was fed. ``labels`` are by the number of the token.

    Every token is in the view of the row that brought it.
    """
    chains = _chains(len(tokens), rows)
    order = np.concatenate(chains)  # the numbers of the tokens as the trace has them
    stretch_of, offset_of = np.zeros(len(tokens), np.int64), np.zeros(len(tokens), np.int64)
    for index, chain in enumerate(chains):
        stretch_of[chain], offset_of[chain] = index, np.arange(len(chain))
    fed = [one for row in rows for one in _fed(row, stretch_of, offset_of)]
    return Trace(
        tokens=tuple(tokens[number] for number in order),
        labels=tuple(labels.get(int(number), NO_LABEL) for number in order),
        lengths=tuple(map(len, chains)),
        rows=tuple(sorted(fed, key=lambda one: (one.stretch, one.begin))),
        info=dict(info or {}),
    )


def _chains(count: int, rows: Iterable[Row]) -> list[Numbers]:
    """The stretches, as the numbers of their tokens: cut wherever two views differ in what stands before a token."""
    before = np.full(count, -2)  # of each token: the one before it in all views, -1 where there is none such
    for row in rows:
        here = np.concatenate(([-1], row.view[:-1]))
        before[row.view] = np.where(before[row.view] == -2, here, before[row.view])
        before[row.view[before[row.view] != here]] = -1
    chains = list[list[int]]()
    chain_of = np.full(count, -1)
    for token, last in enumerate(before.tolist()):
        chain = chains[chain_of[last]] if last >= 0 else []
        if not chain or chain[-1] != last:  # nothing before it, or another one has gone on from there
            chain = []
            chains.append(chain)
        chain_of[token] = len(chains) - 1 if not chain else chain_of[last]
        chain.append(token)
    return [np.array(chain) for chain in chains]


def _fed(row: Row, stretch_of: Numbers, offset_of: Numbers) -> list[Fed]:
    """A row as runs of stretches: one `Fed` for each stretch that its new tokens belong to."""
    stretches, offsets = stretch_of[row.view], offset_of[row.view]
    begins = np.flatnonzero((offsets == 0) | np.concatenate(([True], stretches[1:] != stretches[:-1])))
    ends = np.append(begins[1:], len(row.view))
    view = [(int(stretches[begin]), int(end - begin)) for begin, end in zip(begins, ends, strict=True)]
    new, fed = len(row.view) - row.count, list[Fed]()
    for index, end in enumerate(ends.tolist()):
        if end > new:
            first = max(new, int(begins[index]))
            own, length = view[index]
            fed.append(Fed(own, length - (end - first), end - first, row.number, tuple(view[: index + 1])))
    return fed


def save_traces(path: Path, traces: Iterable[Trace]) -> int:
    """Write traces to a file, a JSON object a line; how many they were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            rows = [[one.stretch, one.begin, one.count, one.number, one.view] for one in trace.rows]
            line = {"tokens": trace.tokens, "labels": trace.labels, "lengths": trace.lengths, "rows": rows}
            file.write(json.dumps(line | {"info": dict(trace.info)}) + "\n")
            count += 1
    return count


def load_traces(path: Path) -> list[Trace]:
    """Traces of a file that `save_traces` has written. Raises `TraceError`, with the line that is none."""
    traces = list[Trace]()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TraceError(f"the traces {str(path)!r} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            read = json.loads(line)
            rows = [Fed(a, b, c, d, tuple((i, n) for i, n in view)) for a, b, c, d, view in read["rows"]]
            tokens, labels, lengths = (tuple(map(int, read[name])) for name in ("tokens", "labels", "lengths"))
            traces.append(Trace(tokens, labels, lengths, tuple(rows), read["info"]))
        except (ValueError, KeyError, TypeError):
            raise TraceError(f"{path}, line {number} is no trace for training: write it with save_traces") from None
    return traces
