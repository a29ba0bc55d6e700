"""The adapter in the package: its files, when it is the default, and that a team with it shares out a task."""

from __future__ import annotations

import json

import pytest

from hogwild import Engine
from hogwild.api import choose_adapter
from hogwild.models.adapter import PACKAGED, packaged_adapters, read_adapter
from hogwild.train.measure import compare
from hogwild.train.tasks import draw_case, read_mix

NAME, BASE = "smollm2-135m-team", "smollm2-135m-instruct"


def test_it_is_small_and_has_a_card() -> None:
    assert NAME in packaged_adapters()
    assert sum(path.stat().st_size for path in (PACKAGED / NAME).iterdir()) <= 5_000_000
    card = (PACKAGED / NAME / "README.md").read_text(encoding="utf-8")
    for said in ("license: apache-2.0", "base_model:", "Seed", "Commit", "cannot"):
        assert said in card
    config = json.loads((PACKAGED / NAME / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == BASE
    assert read_adapter(NAME).team == {"prompt": "short", "may_end": True, "in_turn": True}


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, True),
        ({"workers": 4}, True),
        ({"workers": 1}, False),
        ({"assign": ["One.", "Two."]}, False),
        ({"assign": "plan"}, False),
        ({"prompt": "default"}, False),
        ({"layout": "interleaved"}, False),
    ],
)
def test_it_is_the_default_of_teams_that_share_out_work(options: dict[str, object], taken: bool) -> None:
    assert choose_adapter(BASE, options) == (NAME if taken else None)
    assert choose_adapter("qwen2.5-coder-0.5b-instruct", options) is None


def test_a_team_shares_a_task_out() -> None:
    """Of four new tasks, with words that it was trained on; docs/training.md has more of them."""
    engine = Engine.load(BASE, adapter=NAME)
    tasks = [
        draw_case("plain", f"packaged {i}", read_mix(), kept=False, workers=2, layout="combined") for i in range(4)
    ]
    done = compare(engine, tasks)
    assert done.team.once >= 0.9 * done.team.parts
    assert done.team.passes <= 0.7 * done.one.passes
