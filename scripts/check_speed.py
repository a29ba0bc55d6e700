#!/usr/bin/env python3
"""Fail when a ratio that does not depend on the machine is more than 20% worse than in .ci/speed.json.

The ratios are those of `hogwild.bench.guard`, measured in turn on SmolLM2 135M. What looks worse is measured once more,
with twice the rounds, before it counts. The baseline has figures for each attention function and what its kernels use,
with and without instructions for bfloat16: where no compiler was, the plain one is compared with itself.
--write puts today's figures there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hogwild.bench.guard import measure, verdict
from hogwild.bench.machine import Machine
from hogwild.engine import Engine
from hogwild.native import fast_bfloat16, instructions

BASELINE = Path(__file__).resolve().parent.parent / ".ci" / "speed.json"
MODEL = "smollm2-135m-instruct"


def main() -> int:
    """Measure, compare, and say what became worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="a folder or a packaged name; bfloat16")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the baseline instead of comparing with it")
    arguments = parser.parse_args()
    kept: dict[str, Any] = json.loads(arguments.baseline.read_text()) if arguments.baseline.is_file() else {}
    engine = Engine.load(arguments.model)
    path = getattr(engine.attention, "__name__", type(engine.attention).__name__)
    path += f", {used}" if (used := instructions()) else ""
    path += "" if fast_bfloat16() else ", without bfloat16 instructions"
    print(f"{Machine.here(engine.device)}; {path}")
    for number in (1, 2):
        found = measure(engine, arguments.model, arguments.rounds * number, arguments.passes, print)
        figures = {name: round(spread.median, 3) for name, spread in found.items()}
        if arguments.write:
            kept[path] = {"ratios": figures, "machine": str(Machine.here(engine.device))}
            arguments.baseline.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            return 0
        problems = verdict(figures, kept.get(path, {}).get("ratios", {}))
        if not problems:
            print("speed: all is well")
            return 0
        print("\n".join(problems) + ("\nmeasuring once more" if number == 1 else ""))
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
