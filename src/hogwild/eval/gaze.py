"""Attention mass: how much of each worker's attention goes to what, pass by pass, while a team runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from hogwild.attention import Gaze, Watcher
from hogwild.bench.report import Table
from hogwild.engine import Row
from hogwild.team.ask import Ask, Play
from hogwild.team.team import Team
from hogwild.team.views import Piece
from hogwild.team.worker import Member

KINDS = (
    "first token", "prompt", "others' history", "own history", "others' steps", "headers", "private", "own step",
    "sinks",
)  # fmt: skip
"""What attention can go to. ``first token``: that of the prompt, where most models put what they need nowhere else;
``others' history``: finished steps of others, and what people said; ``headers``: what announces steps, gaps and marks;
``private``: the worker's role and parts; ``own step``: what it has written of its current step, with its prefix;
``sinks``: logits that a model has for nothing. Together they are 1."""


@dataclass(frozen=True)
class Look:
    """Where one worker looked in one pass, from its last token.

    ``shares`` and ``tokens`` are by kind, in the order of `KINDS`: the attention, averaged over heads and layers, and
    how many tokens of the view are of that kind. ``layers`` has the shares of each layer.
    """

    pass_: int
    worker: str
    step: int
    shares: tuple[float, ...]
    tokens: tuple[int, ...]
    layers: tuple[tuple[float, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "pass": self.pass_,
            "worker": self.worker,
            "step": self.step,
            "shares": dict(zip(KINDS, self.shares, strict=True)),
            "tokens": dict(zip(KINDS, self.tokens, strict=True)),
            "layers": dict(zip(KINDS, zip(*self.layers, strict=True), strict=True)),
        }


def watched(team: Team, watcher: Watcher, seen: Callable[[Look], None]) -> Play[None]:
    """The team's play, which also tells ``seen`` where its workers look. Drive it inside ``engine.watch()``."""
    play, answer, error = team.play(), None, None
    try:
        while True:
            happened = play.send(answer) if error is None else play.throw(error)
            answer = error = None
            try:
                answer = yield happened
            except GeneratorExit:
                raise
            except BaseException as raised:  # what the engine raised is the team's to handle
                error = raised
            else:
                if isinstance(happened, Ask) and happened.logits:
                    for look in looks(team, happened.rows, watcher.last):
                        seen(look)
    except StopIteration:
        return
    finally:
        play.close()


def looks(team: Team, rows: Sequence[Row], gazes: Sequence[Gaze]) -> list[Look]:
    """Of a pass that has just been done, those of workers at their steps; prompts and the finisher are none."""
    if team.space is None:
        return []
    writers = {id(block): member for member in team.space.members for block in _written(member)}
    views, found = team.views(), list[Look]()
    for row, gaze in zip(rows, gazes, strict=True):
        if (member := writers.get(id(row.own))) is not None:
            found.append(_look(team.passes + 1, member, views[member.name], gaze))
    return found


def _written(member: Member) -> list[Any]:
    """The blocks that a worker may write to."""
    return [member.block, *([member.private] if member.from_private else [])]


def _look(number: int, member: Member, view: Sequence[Piece], gaze: Gaze) -> Look:
    runs = [1, view[0].tokens - 1, *(piece.tokens for piece in view[1:])]
    kinds = ["first token", *(_kind(piece, member.name) for piece in view)]
    shares, sinks = gaze.shares(runs).double().cpu(), gaze.sinks.double().cpu()
    layers = [[0.0] * len(KINDS) for _ in sinks]
    tokens = [0] * len(KINDS)
    for place, (kind, run) in enumerate(zip(kinds, runs, strict=True)):
        tokens[KINDS.index(kind)] += run
        for layer, share in zip(layers, shares[:, place].tolist(), strict=True):
            layer[KINDS.index(kind)] += share
    for layer, sink in zip(layers, sinks.tolist(), strict=True):
        layer[-1] = sink
    means = tuple(fmean(column) for column in zip(*layers, strict=True))
    return Look(number, member.name, member.step, means, tuple(tokens), tuple(map(tuple, layers)))


def _kind(piece: Piece, me: str) -> str:
    if piece.kind == "history":
        return "own history" if piece.worker == me else "others' history"
    if piece.kind == "step":
        return "own step" if piece.worker == me else "others' steps"
    return piece.kind if piece.kind in ("prompt", "private") else "headers"


# What becomes of them.


def save(found: Sequence[Look], path: Path) -> None:
    """Write what was seen: ``.jsonl`` with all layers, ``.csv`` with the means, one line a pass and worker."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(look.as_dict()) + "\n" for look in found)
            return
        lines = csv.writer(file)
        lines.writerow(["pass", "worker", "step", *KINDS, *(f"tokens: {kind}" for kind in KINDS)])
        for look in found:
            shares = (f"{share:.6f}" for share in look.shares)
            lines.writerow([look.pass_, look.worker, look.step, *shares, *look.tokens])


def gaze_table(found: Sequence[Look], title: str) -> Table:
    """A line for each worker: the mean share of each kind over its passes, and that of tokens in brackets."""
    rows = list[tuple[str, ...]]()
    for worker in dict.fromkeys(look.worker for look in found):
        own = [look for look in found if look.worker == worker]
        shares = [fmean(look.shares[place] for look in own) for place in range(len(KINDS))]
        tokens = [fmean(look.tokens[place] / sum(look.tokens) for look in own) for place in range(len(KINDS))]
        cells = (f"{share:.1%} ({part:.1%})" for share, part in zip(shares, tokens, strict=True))
        rows.append((worker, str(len(own)), *cells))
    return Table(title, ("worker", "passes", *KINDS), tuple(rows))


def draw(found: Sequence[Look], title: str, path: Path) -> None:
    """Stacked areas over the passes, a strip for each worker; a thin line where it begins a step."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    workers = list(dict.fromkeys(look.worker for look in found))
    used = [place for place in range(len(KINDS)) if any(look.shares[place] > 0 for look in found)]
    colours = [cast("Any", colormaps["tab20c"])(_COLOURS[KINDS[place]]) for place in used]
    figure = Figure(figsize=(9, 1.2 + 1.9 * len(workers)), layout="constrained")
    strips = figure.subplots(len(workers), 1, sharex=True, squeeze=False)[:, 0]
    for strip, worker in zip(strips, workers, strict=True):
        own = [look for look in found if look.worker == worker]
        passes = [look.pass_ for look in own]
        strip.stackplot(
            passes, [[look.shares[place] for look in own] for place in used], colors=colours, step="mid", linewidth=0
        )
        for before, after in pairwise(own):
            if after.step != before.step:
                strip.axvline(after.pass_ - 0.5, color="black", linewidth=0.5)
        strip.set_ylim(0, 1)
        strip.margins(x=0)
        strip.set_ylabel(worker)
    strips[0].set_title(title, fontsize=9)
    strips[-1].set_xlabel("passes")
    patches = [Patch(color=colour, label=KINDS[place]) for colour, place in zip(colours, used, strict=True)]
    figure.legend(handles=patches[::-1], loc="outside right upper", fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


_COLOURS = {
    "first token": 19, "prompt": 17, "others' history": 2, "own history": 10, "others' steps": 0, "headers": 15,
    "private": 13, "own step": 8, "sinks": 18,
}  # fmt: skip
