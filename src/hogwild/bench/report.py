"""Results as tables: for the terminal, for Markdown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hogwild.bench.compare import Standing
from hogwild.bench.machine import Machine
from hogwild.bench.passes import PassFigure
from hogwild.bench.profile import PARTS
from hogwild.bench.spread import Spread

OURS = "hogwild "
"""What the names of our engines in a comparison begin with."""


@dataclass(frozen=True)
class Table:
    """Columns and rows of text, the same for every output."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def pass_table(figures: Sequence[PassFigure], title: str) -> Table:
    """A line for each number of workers at each context."""
    columns = (
        "engine", "context", "workers", "ms a pass (p10–p90)", "passes/s", "tokens/s each", "tokens/s",
        "speedup", "limit ms", "of limit", "GB read", "GB/s", "prefill/s", "peak GB",
    )  # fmt: skip
    return Table(title, columns, tuple(_pass_row(figure) for figure in figures))


def _pass_row(figure: PassFigure) -> tuple[str, ...]:
    passes = 1 / figure.seconds.median
    return (
        figure.setting,
        f"{figure.context:,}",
        str(figure.workers),
        spread(figure.seconds, 1e3),
        f"{passes:.1f}",
        f"{passes:.1f}",
        f"{figure.tokens_per_second:.1f}",
        f"{figure.speedup.median:.2f}",
        f"{figure.limit * 1e3:.1f}",
        f"{figure.share.median:.0%}",
        f"{(figure.reads.weights + figure.reads.cache) / 1e9:.2f}",
        f"{figure.bandwidth / 1e9:.1f}",
        f"{figure.prefill_rate:.0f}",
        f"{figure.peak_memory / 1e9:.1f}",
    )


def profile_table(figures: Sequence[PassFigure], title: str) -> Table:
    """A line for each profiled pass: milliseconds and share of each part; they add up to the pass."""
    rows = []
    for figure in figures:
        spent = {part.name: part.seconds for part in figure.parts}
        whole = sum(spent.values())
        cells = (f"{spent.get(name, 0) * 1e3:.2f} ({spent.get(name, 0) / whole:.0%})" for name in PARTS)
        rows.append((figure.setting, f"{figure.context:,}", str(figure.workers), f"{whole * 1e3:.2f}", *cells))
    columns = ("engine", "context", "workers", "profiled pass, ms", *PARTS)
    return Table(title, columns, tuple(rows))


def compare_table(standings: Sequence[Standing], title: str) -> Table:
    """A line for each contestant; the last columns say how many times as fast as it each of our engines is."""
    ours = list(dict.fromkeys(standing.name for standing in standings if standing.name.startswith(OURS)))
    rows = []
    for one in standings:
        peers = {s.name: s for s in standings if (s.workers, s.context) == (one.workers, one.context)}
        cells = (spread(peers[name].over(one), digits=2) if name in peers else "" for name in ours)
        first = (
            one.name,
            f"{one.context:,}",
            str(one.workers),
            spread(one.seconds, 1e3),
            f"{one.tokens_per_second:.1f}",
        )
        rows.append((*first, *cells))
    columns = ("who", "context", "sequences", "ms a pass (p10–p90)", "tokens/s", *(f"{name} over it" for name in ours))
    return Table(title, columns, tuple(rows))


def notes_table(standings: Sequence[Standing]) -> Table:
    """How each contestant works, a line each."""
    notes = {standing.name: standing.note for standing in standings}
    return Table("How each of them works", ("who", "how"), tuple(notes.items()))


def compare_json(machine: Machine, model: str, standings: Sequence[Standing]) -> str:
    """Everything about a run of ``hogwild bench compare``, as one JSON object. Times in seconds."""
    lines = [asdict(standing) | {"tokens_per_second": standing.tokens_per_second} for standing in standings]
    return json.dumps({"machine": asdict(machine), "model": model, "standings": lines}, indent=1)


def pass_json(machine: Machine, model: str, options: Any, figures: Sequence[PassFigure]) -> str:
    """Everything about a run of ``hogwild bench pass``, as one JSON object. Times in seconds, sizes in bytes."""
    lines = [
        asdict(figure) | {"limit": figure.limit, "tokens_per_second": figure.tokens_per_second} for figure in figures
    ]
    return json.dumps(
        {"machine": asdict(machine), "model": model, "options": asdict(options), "passes": lines}, indent=1
    )


def spread(value: Spread, unit: float = 1.0, digits: int = 1) -> str:
    """A median with its spread, in multiples of 1 / ``unit``."""
    return f"{value.median * unit:.{digits}f} ({value.p10 * unit:.{digits}f}–{value.p90 * unit:.{digits}f})"
