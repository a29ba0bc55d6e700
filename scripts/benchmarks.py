#!/usr/bin/env python3
"""Measure the project's bars and write docs/benchmarks.md, with its JSON and its pictures: `make bench`.

Sections that are done for this commit are not done again: an interrupted run goes on where it stopped. Choose some
with --only, repeat them with --again, write the page anew from what is there with --render. --page is for another kind
of machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hogwild.bench.compare import Standing
from hogwild.bench.machine import Machine, read_bandwidth
from hogwild.bench.plot import draw, plot_needs
from hogwild.bench.report import Table
from hogwild.bench.spread import Spread
from hogwild.bench.suite import SECTIONS, SEED, Bar, Models, Section

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path.home() / ".cache" / "hogwild-models"
PAGE = ROOT / "docs" / "benchmarks.md"

INTRODUCTION = """# Benchmarks

Written by `make bench`: do not edit. Every figure is the median of paired turns in one process; a ratio is the median
of the ratios of its rounds. The limit of a pass is the time that reading all weights once and each cached key and
value once would take at the bandwidth that the same process reached before each round (sum and maximum over 512 MB of
float32, the best of 12, all threads). Contexts are some hundred prefilled tokens, appended to themselves until they
are long enough. Nothing here ran on a GPU. The workload is greedy decoding of random tokens; what it compares with,
and how, is said below each table. The same on your machine: `hogwild bench pass` and `hogwild bench compare`.
"""


def main() -> int:
    """Measure what is missing, and write the page."""
    arguments = parse()
    written: Path = arguments.page.resolve()
    data = written.with_suffix(".json")
    kept: dict[str, Any] = json.loads(data.read_text()) if data.is_file() else {}
    plot_needs([picture(written, name) for name in arguments.only])
    models = Models(arguments.large, arguments.small, arguments.gguf)
    commit, start = Machine.here().commit, time.monotonic()
    for name in [] if arguments.render else arguments.only:
        if not arguments.again and kept.get(name, {}).get("machine", {}).get("commit") == commit:
            print(f"[{name}] is done for {commit}")
            continue
        kept[name] = measure(name, models, start)
        data.write_text(json.dumps(kept, indent=1) + "\n")
    written.write_text(page(written, kept))
    for name, section in kept.items():  # each its own: the same contestants come again with another model
        if section["standings"]:
            standings = [restore(one) for one in section["standings"]]
            draw(standings, f"{name}: total tokens a second", "", picture(written, name))
    print(f"{written} is written")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="these sections")
    parser.add_argument("--again", action="store_true", help="also those that are done for this commit")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write, its JSON and pictures beside it")
    parser.add_argument("--large", default=folder("qwen2.5-coder-1.5b"), help="Qwen2.5-Coder-1.5B")
    parser.add_argument("--small", default=folder("smollm2-135m"), help="SmolLM2-135M")
    parser.add_argument("--gguf", type=Path, default=KEPT / "qwen2.5-coder-1.5b.gguf", help="the large one, Q4_K_M")
    return parser.parse_args()


def picture(written: Path, section: str) -> Path:
    """The plot of a section that compares, beside the page."""
    return written.with_name(f"{written.stem}-{section}.svg")


def folder(name: str) -> str:
    """The folder of a model, or the name of the packaged one."""
    return str(KEPT / name) if (KEPT / name).is_dir() else f"{name}-instruct"


def measure(name: str, models: Models, start: float) -> dict[str, Any]:
    """Run one section; its result as plain values."""

    def report(line: str) -> None:
        print(f"[{name}] {time.monotonic() - start:5.0f} s  {line}", flush=True)

    begin = time.monotonic()
    machine, bandwidth = Machine.here(), read_bandwidth()
    section: Section = SECTIONS[name](models, report)
    gc.collect()
    for bar in section.bars:
        report(f"bar {bar.number}: {bar.what}: {bar.value:.2f}, {bar.bound} {bar.wanted}")
    return {
        **asdict(section),
        "machine": asdict(machine),
        "bandwidth": bandwidth,
        "seconds": round(time.monotonic() - begin),
        "seed": SEED,
    }


def page(written: Path, kept: dict[str, Any]) -> str:
    """The page, from what was measured."""
    lines = [
        INTRODUCTION,
        "## The bars",
        "",
        "| bar | what | measured | wanted | met |",
        "| --- | --- | --- | --- | --- |",
    ]
    bars = [Bar(**bar) for section in kept.values() for bar in section["bars"]]
    for bar in sorted(bars, key=lambda bar: bar.number):
        met = "yes" if bar.met else "**no**"
        lines.append(f"| {bar.number} | {bar.what} | {bar.value:.2f} | {bar.bound} {bar.wanted:g} | {met} |")
    lines.append("")
    missing = [name for name in SECTIONS if name not in kept]
    if missing:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    for name in SECTIONS:
        if name in kept:
            lines += section_lines(name, kept[name], picture(written, name).name)
    return "\n".join(lines)


def section_lines(name: str, kept: dict[str, Any], plot: str) -> list[str]:
    """One section: its tables, how each contestant works, and where it ran."""
    lines = [f"## Section {name}", "", (SECTIONS[name].__doc__ or "").strip(), ""]
    tables = (Table(one["title"], tuple(one["columns"]), tuple(map(tuple, one["rows"]))) for one in kept["tables"])
    lines += [table.markdown() for table in tables]
    if kept["standings"]:
        lines += [f"![Total tokens a second of everyone in this section]({plot})", ""]
    notes = {one["name"]: one["note"] for one in kept["standings"]}
    lines += [f"- {who}: {how}" for who, how in notes.items()] + [""] * bool(notes)
    where = f"{Machine(**kept['machine'])}; {kept['bandwidth'] / 1e9:.1f} GB/s read; seed {kept['seed']}"
    return [*lines, f"{where}; took {kept['seconds']} s.", ""]


def restore(one: dict[str, Any]) -> Standing:
    """A standing from its plain values."""
    return Standing(**{**one, "seconds": Spread(**one["seconds"]), "rates": tuple(one["rates"])})


if __name__ == "__main__":
    raise SystemExit(main())
