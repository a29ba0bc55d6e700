"""Prompt sets: every packaged one renders for every team; a user's folder replaces pieces; broken ones are one line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest

from fakes import PIECES as FAKE_PIECES
from fakes import decode, make_tokenizer, of_kind, prompt_folder, run, scripted
from hogwild import Team
from hogwild.errors import OptionError
from hogwild.team.prompts import PIECES, PromptSet, packaged_sets
from hogwild.team.text import Turns
from hogwild.team.worker import NAMES

TURNS = Turns("<user>", "<assistant>")
FORMS = ["text", "boxed", "number", "code"]


@pytest.mark.parametrize("workers", range(1, 17))
@pytest.mark.parametrize("name", packaged_sets())
def test_every_packaged_set_renders_for_every_team(name: str, workers: int) -> None:
    engine = scripted(positions=16384, pages=600)
    for form in (FORMS[workers % 4], FORMS[workers // 4 % 4]):
        for assign in ("none", [f"part {i}" for i in range(1, workers + 3)]):
            team = Team(engine, "The task.", workers, prompt=name, answer=form, assign=assign)
            texts = [team.setup.text("user"), team.setup.text("history"), team.setup.finisher_text()]
            for index, me in enumerate(team.setup.names):
                parts = team.setup.parts.get(me, [])
                texts += [
                    team.setup.text("private", me=me, role="a role", parts=parts),
                    team.setup.text("opening", me=me, index=index, parts=parts),
                    *(team.setup.text(piece, me=me, step=3, parts=parts) for piece in ("own", "step", "check")),
                ]
            assert not any(re.search(r"\{\{|\{%|Undefined|None", text) for text in texts)
            assert "The task." in "".join(texts)
            if workers > 1:
                assert all(one in texts[0] for one in NAMES[:workers])


@pytest.mark.parametrize("name", packaged_sets())
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_every_packaged_set_works_to_the_end(name: str, workers: int) -> None:
    engine = scripted(positions=16384, pages=600, tokenizer=make_tokenizer(thinking=True))
    for assign in ("none", [f"part {i}" for i in range(workers)]):
        last = run(Team(engine, "The task.", workers, prompt=name, assign=assign, budget=5, answer="number"))[-1]
        assert last.kind == "finished"
        assert engine.pool.used_pages == 0


def test_a_folder_replaces_single_pieces(tmp_path: Path) -> None:
    (tmp_path / "mark.jinja").write_text("<cut off>\n")
    (tmp_path / "notes.txt").write_text("not a template")
    prompts = PromptSet(tmp_path, TURNS)
    default = PromptSet("default", TURNS)
    fields: dict[str, Any] = {"names": ["A", "B"], "n": 2, "task": "T", "form": "text", "parts": []}
    assert prompts.render("mark", **fields) == "<cut off>"
    assert prompts.render("user", **fields) == default.render("user", **fields)
    assert PromptSet(str(tmp_path), TURNS).render("mark", **fields) == "<cut off>"


def test_a_folder_extends_a_packaged_piece(tmp_path: Path) -> None:
    (tmp_path / "user.jinja").write_text("{% include 'default/user.jinja' %}!\n")
    text = PromptSet(tmp_path, TURNS).render("user", names=["A", "B"], n=2, task="T", form="text", parts=[])
    assert text.endswith("T!")


def test_the_last_newline_is_the_files_not_the_texts(tmp_path: Path) -> None:
    turns = Turns("<user>\n", "<assistant>\n")
    for written in ("{{ turn.assistant }}", "{{ turn.assistant }}\n"):
        (tmp_path / "mark.jinja").write_text(written)
        assert PromptSet(tmp_path, turns).render("mark") == "<assistant>\n"


def test_a_packaged_name_comes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt_folder(tmp_path / "default")
    monkeypatch.chdir(tmp_path)
    assert PromptSet("default", TURNS).render("mark") != FAKE_PIECES["mark"]
    assert PromptSet("./default", TURNS).render("mark") == FAKE_PIECES["mark"]


def test_a_team_is_told_by_the_folder(tmp_path: Path) -> None:
    engine = scripted({"Alice": ["a.\n\n"]}, answer="2}")
    events = run(Team(engine, "Task", 2, prompt=prompt_folder(tmp_path), answer="boxed", budget=5))
    assert decode(engine.seen[0][0]).startswith("<|im_start|>user\nTask [Alice, Bob]<|im_end|>")
    assert of_kind(events, "step_started")[-1].text == "Alice@2:"
    assert events[0].settings["prompt"] == str(tmp_path)


# What is broken is one line, before anything is read.


def test_the_pieces_are_those_that_are_packaged() -> None:
    folder = Path(PromptSet.__init__.__code__.co_filename).parent
    assert {path.stem for path in (folder / "default").glob("*.jinja")} == set(PIECES) == set(FAKE_PIECES)


@pytest.mark.parametrize("name", ["nowhere", "", "default/", "/no/such/folder", "."])
def test_no_such_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"^prompt is .*: give one of code, .*, steps or a folder"):
        PromptSet(name, TURNS)


def test_an_unknown_piece(tmp_path: Path) -> None:
    (tmp_path / "users.jinja").write_text("x")
    with pytest.raises(OptionError, match="unknown template users.jinja; known are user, "):
        PromptSet(tmp_path, TURNS)


BROKEN = {
    "syntax": "{% if %}",
    "never closed": "one\n{% if n %}\n",
    "undefined": "{{ colour }}",
    "attribute": "{{ names.colour.red }}",
    "arithmetic": "{{ n / 0 }}",
    "types": "{{ names + 1 }}",
    "index": "{{ names[99].x }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "class of a part": "{{ names.__class__ }}",
    "turn": "{{ turn.__init__.__globals__ }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "format": "{{ '{0.__class__}'.format(n) }}",
    "change": "{{ names.append('Eve') }}",
    "huge": "{% for i in range(1000000000) %}x{% endfor %}",
    "outside": "{% include '../../../../../../etc/passwd' %}",
    "absolute": "{% include '/etc/passwd' %}",
    "itself": "{% include 'check.jinja' %}",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_template_is_one_line_before_the_team_begins(tmp_path: Path, case: str) -> None:
    engine = scripted()
    folder = prompt_folder(tmp_path, check=BROKEN[case])  # the piece that is needed last
    with pytest.raises(OptionError, match=r"^prompt template check\.jinja") as caught:
        Team(engine, "Task", 2, prompt=folder)
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)
    assert engine.pool.used_pages == 0


def test_a_template_that_is_no_text(tmp_path: Path) -> None:
    folder = prompt_folder(tmp_path)
    (folder / "check.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="check.jinja"):
        Team(scripted(), "Task", 2, prompt=folder)


def test_templates_are_compiled_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = list[str]()
    whole = jinja2.Environment.compile

    def compile_(self: Any, source: Any, name: Any = None, *rest: Any, **options: Any) -> Any:
        compiled.append(name)
        return whole(self, source, name, *rest, **options)

    monkeypatch.setattr(jinja2.Environment, "compile", compile_)
    path = tmp_path / "mark.jinja"
    path.write_text("one")
    assert [PromptSet(tmp_path, TURNS).render("mark") for _ in range(3)] == ["one"] * 3
    assert compiled == ["mark.jinja"]
    path.write_text("two")
    os.utime(path, (1, 1))
    assert PromptSet(tmp_path, TURNS).render("mark") == "two"
    assert len(compiled) == 2
