"""The two functions of the first level."""

from __future__ import annotations

from pathlib import Path

import pytest

import hogwild
from fakes import kinds, prompt_folder, scripted
from hogwild import Engine, solve, stream
from hogwild.errors import ModelNotFound, OptionError
from hogwild.team.events import Finished


def test_solve_runs_to_the_end_and_returns_it(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["\\boxed{7}.\n\n"]})
    last = solve("Task", engine, answer="boxed", prompt=prompt_folder(tmp_path))
    assert isinstance(last, Finished)
    assert (last.answer, last.reason, last.tokens) == ("7", "answer", {"Alice": 10, "Bob": 10})
    assert engine.pool.used_pages == 0


def test_stream_tells_it_all_and_may_be_left(tmp_path: Path) -> None:
    engine = scripted()
    events = list(stream("Task", model=engine, workers=3, budget=4, prompt=prompt_folder(tmp_path)))
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "finished"
    half = stream("Task", engine, budget=4, prompt=prompt_folder(tmp_path))
    for _ in range(6):
        next(half)
    assert engine.pool.used_pages > 0
    half.close()  # type: ignore[attr-defined]
    assert engine.pool.used_pages == 0


def test_what_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="layout is 'x'"):
        stream("Task", scripted(), layout="x")
    with pytest.raises(OptionError, match="colour is no option"):
        solve("Task", scripted(), colour="red")
    with pytest.raises(ModelNotFound):
        stream("Task", tmp_path / "nothing.gguf")


def test_a_model_is_loaded_when_it_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(model: object, adapter: object) -> Engine:
        asked.append((model, adapter))
        return scripted()

    monkeypatch.setattr(Engine, "load", load)
    for given in ({}, {"model": "other"}, {"model": tmp_path, "adapter": "mine"}):
        solve("Task", budget=2, prompt=prompt_folder(tmp_path), **given)
    assert asked == [("smollm2-135m-instruct", None), ("other", None), (tmp_path, "mine")]


def test_public_names_are_found_and_others_are_not() -> None:
    for name in hogwild.__all__:
        assert getattr(hogwild, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hogwild.nothing  # noqa: B018
