"""What each process of `test_parallel` does, and the one process that it is compared with.

``python ranks.py MODEL OUT`` writes the logits of a ragged pass and the tokens of two teams to ``OUT.RANK.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hogwild import Engine, Row, Sampling, Team
from hogwild.models.parallel import launched

PROMPT, FIRST, SECOND = [17, 3, 80, 41, 5, 99, 12], [7, 31], [64]


def observe(model: str, dtype: str, *, tensor_parallel: bool) -> dict[str, Any]:
    """Logits of two workers that read each other, and what two teams write: greedy, and drawn."""
    engine = Engine.load(model, dtype=dtype, kv_memory=1 << 22, tensor_parallel=tensor_parallel)
    prompt, a, b = (engine.block() for _ in range(3))
    engine.prefill([prompt], PROMPT)
    logits = engine.forward([Row([prompt, b, a], FIRST), Row([prompt, a, b], SECOND)], all_positions=True)
    return {
        "heads": [(layer.heads, layer.kv_heads) for layer in engine.pool.layers],
        "pages": engine.pool.total_pages,
        "logits": logits.tolist(),
        "greedy": _write(engine, Sampling(temperature=0.0)),
        "drawn": _write(engine, Sampling(temperature=0.8, top_p=0.9)),
    }


def _write(engine: Engine, sampling: Sampling) -> list[tuple[str, int]]:
    team = Team(engine, "Say something.", workers=3, budget=24, seed=5, sampling=sampling)
    return [(event.worker, event.token) for event in team.run() if event.kind == "token"]


def fail_alone() -> None:
    """Rank 1 runs out of memory in its 12th pass; the other one goes on."""
    if launched().rank != 1:
        return
    whole, passes = Engine._pass, [0]

    def broken(self: Engine, *arguments: Any) -> Any:
        passes[0] += 1
        if passes[0] == 12:
            raise MemoryError("rank 1 alone is out of memory")
        return whole(self, *arguments)

    Engine._pass = broken  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    folder, out = sys.argv[1:3]
    if "--fail" in sys.argv:
        fail_alone()
    seen = observe(folder, "float32", tensor_parallel=True)
    Path(f"{out}.{os.environ['RANK']}.json").write_text(json.dumps(seen))
