"""The house keeps itself: the documentation checker is tested on small fixtures, the packaging on the repository."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_checker() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts" / "check_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = load_checker()


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "link",
    ["docs/a.md", "docs/a.md#the-first-one", "#here", "https://example.org/x", "mailto:a@b.c", "docs", "<docs/a.md>"],
)
def test_good_links(tmp_path: Path, link: str) -> None:
    put(tmp_path, "README.md", f"# Here\n[x]({link})\n")
    put(tmp_path, "docs/a.md", "## The first, `one`\n[up](../README.md)\n")
    assert list(docs.check_links(tmp_path)) == []


@pytest.mark.parametrize("link", ["docs/b.md", "docs/a.md#the-second", "#there", "../README.md"])
def test_broken_links(tmp_path: Path, link: str) -> None:
    put(tmp_path, "README.md", f"# Here\n![x]({link})\n")
    put(tmp_path, "docs/a.md", "## The first\n")
    (problem,) = docs.check_links(tmp_path)
    assert problem.startswith("README.md: the link " + link)


def test_links_in_code_are_no_links(tmp_path: Path) -> None:
    put(tmp_path, "README.md", "```python\nx = [f](nowhere)\n# Here\n```\n")
    assert list(docs.check_links(tmp_path)) == []


def say(command: str) -> str:
    return f"this is {command}"


PAGE = (
    "# Commands\n<!-- begin: hogwild run --help -->\nold\n<!-- end -->\ntext\n<!-- begin: hogwild -->\n<!-- end -->\n"
)


def test_generated_blocks_are_written_once_and_then_hold(tmp_path: Path) -> None:
    put(tmp_path, "docs/cli.md", PAGE)
    commands = ["hogwild run --help", "hogwild"]
    (problem,) = docs.check_generated(tmp_path, say, commands)
    assert "out of date" in problem
    docs.write(tmp_path, say)
    text = (tmp_path / "docs/cli.md").read_text()
    assert "```text\nthis is hogwild run --help\n```\n<!-- end -->\ntext\n" in text
    assert "old" not in text
    assert list(docs.check_generated(tmp_path, say, commands)) == []
    docs.write(tmp_path, say)
    assert (tmp_path / "docs/cli.md").read_text() == text


def test_a_command_without_its_block_is_found(tmp_path: Path) -> None:
    put(tmp_path, "docs/cli.md", docs.regenerate(PAGE, say))
    assert list(docs.check_generated(tmp_path, say, ["hogwild env --help"])) == [
        "docs/cli.md: no block <!-- begin: hogwild env --help -->"
    ]


def test_only_hogwild_is_run_for_the_docs() -> None:
    with pytest.raises(SystemExit, match="only hogwild commands"):
        docs.run_command("rm -r docs")


def test_every_module_is_named_in_the_architecture(tmp_path: Path) -> None:
    for module in ("engine.py", "team/steps.py", "team/team.py", "team/__init__.py", "fast/engine.py"):
        put(tmp_path, f"src/hogwild/{module}", "")
    put(tmp_path, "docs/architecture.md", "`fast/engine.py`, hogwild.team.steps and src/hogwild/team/team.pyx")
    assert list(docs.check_architecture(tmp_path)) == [
        "docs/architecture.md: does not name engine.py",
        "docs/architecture.md: does not name team/team.py",
    ]


def test_public_names_are_there_and_documented() -> None:
    @dataclass
    class Bare:
        x: int = 0

    package = types.ModuleType("pack")
    contents = {"Bare": Bare, "documented": Path, "VERSION": "1", "plain": lambda: None}
    for name, value in contents.items():
        setattr(package, name, value)
    package.__all__ = [*contents, "gone"]  # type: ignore[attr-defined]
    assert list(docs.check_public_names(package)) == [
        "pack.Bare has no docstring",
        "pack.plain has no docstring",
        "pack.gone is in __all__ but is not there",
    ]


def test_the_readme_compiles_and_names_its_commands(tmp_path: Path) -> None:
    put(tmp_path, "README.md", "`make demo`\n```python\nx = 1\n```\n```python\nx = = 1\n```\n")
    first, second = docs.check_readme(tmp_path)
    assert first.startswith("README.md: Python example 2 does not compile")
    assert second == "README.md: does not name `make test`"


def test_missing_pages_are_one_line_each(tmp_path: Path) -> None:
    assert list(docs.check_readme(tmp_path)) == ["README.md is missing"]
    assert list(docs.check_architecture(tmp_path)) == ["docs/architecture.md is missing"]
    assert list(docs.check_generated(tmp_path, say, [])) == ["docs/cli.md is missing"]


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^\s+]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    assert {re.split(r"[\[<>=!~ ]", requirement)[0].lower() for requirement in wanted} <= pinned


def test_the_licence_and_the_type_marker_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "src" / "hogwild" / "py.typed").exists()
