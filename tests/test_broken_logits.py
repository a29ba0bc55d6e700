"""A model whose logits are no numbers ends the run, and nothing that was written is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import (
    scripted,
)
from hogwild import Sampling, Team
from hogwild.errors import BrokenLogits


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_end_the_run_and_keep_the_text(
    prompt: Path, monkeypatch: pytest.MonkeyPatch, temperature: float, value: float
) -> None:
    engine = scripted({"Alice": ["One.\n\n", "Two, and"], "Bob": ["Three"]})
    team = Team(engine, "Task", 2, prompt=prompt, budget=50, sampling=Sampling(temperature=temperature, top_k=1))
    whole, seen = engine._pass, list[Any]()

    def broken(rows: Any, all_positions: bool) -> Any:
        return whole(rows, all_positions).masked_fill(torch.tensor(team.passes == 9), value)

    monkeypatch.setattr(engine, "_pass", broken)
    with pytest.raises(BrokenLogits, match="after 9 passes, no token can be chosen: .* NaN .*dtype=float32") as caught:
        seen.extend(team.run())
    assert caught.value.text.startswith("Alice@1:One.\n\nAlice@2:Two")
    assert "Bob@1:Three" in caught.value.text
    assert "\n" not in str(caught.value)
    assert engine.pool.used_pages == 0
