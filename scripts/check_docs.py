#!/usr/bin/env python3
"""Check that the documentation cannot rot; with --write, bring its generated parts up to date first.

- Relative links and anchors in README.md, the other pages beside it and docs/*.md resolve.
- Each block between ``<!-- begin: COMMAND -->`` and ``<!-- end -->`` holds what the command prints, at a fixed width
  and without colour; docs/cli.md has a block for the help of every command.
- docs/architecture.md names every module under src/hogwild.
- Every name in ``hogwild.__all__`` is there and has a docstring.
- The README's Python examples compile, and it names the commands that start everything.

Each problem is one line; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

WIDTH = 100  # columns of generated command help
COMMANDS = ("make demo", "make test")
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
BLOCK = re.compile(r"(<!-- begin: (?P<command>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

Run = Callable[[str], str]


def pages(root: Path) -> list[Path]:
    """Every page of the documentation."""
    return sorted(root.glob("*.md")) + sorted(root.glob("docs/*.md"))


def check_links(root: Path) -> Iterator[str]:
    """A relative link leads to a file, and its anchor to a heading there."""
    for page in pages(root):
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            found = (page.parent / path) if path else page
            if not found.exists():
                yield f"{page.relative_to(root)}: the link {target} leads nowhere"
            elif anchor and found.suffix == ".md" and anchor not in anchors(found):
                yield f"{page.relative_to(root)}: the link {target} names a heading that is not there"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_generated(root: Path, run: Run, commands: list[str]) -> Iterator[str]:
    """The generated blocks are what the commands print today, and no command lacks its block in docs/cli.md."""
    for page in pages(root):
        text = page.read_text()
        if regenerate(text, run) != text:
            yield f"{page.relative_to(root)}: a generated part is out of date; run `make docs`"
    reference = root / "docs" / "cli.md"
    if not reference.exists():
        yield "docs/cli.md is missing"
        return
    shown = {block["command"] for block in BLOCK.finditer(reference.read_text())}
    for command in commands:
        if command not in shown:
            yield f"docs/cli.md: no block <!-- begin: {command} -->"


def regenerate(text: str, run: Run) -> str:
    """The page with each generated block made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}```text\n{run(block['command'])}\n```\n{block[3]}", text)


def write(root: Path, run: Run) -> None:
    """Bring every generated block up to date, and say which page changed."""
    for page in pages(root):
        before = page.read_text()
        after = regenerate(before, run)
        if after != before:
            page.write_text(after)
            print(f"{page.relative_to(root)}: written")


def check_architecture(root: Path) -> Iterator[str]:
    """Every module has its line in docs/architecture.md, by path (``team/steps.py``) or by dotted name."""
    page = root / "docs" / "architecture.md"
    if not page.exists():
        yield "docs/architecture.md is missing"
        return
    text = page.read_text()
    package = root / "src" / "hogwild"
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        dotted = ".".join(("hogwild", *module.with_suffix("").parts))
        names = f"{re.escape(module.as_posix())}|{re.escape(dotted)}"
        if path.name != "__init__.py" and not re.search(rf"(?<![\w/.])(src/hogwild/|hogwild/)?({names})\b", text):
            yield f"docs/architecture.md: does not name {module.as_posix()}"


def check_public_names(package: types.ModuleType) -> Iterator[str]:
    """What the package offers exists and tells what it is."""
    if not hasattr(package, "__all__"):
        yield f"{package.__name__} has no __all__"
        return
    for name in package.__all__:
        if not hasattr(package, name):
            yield f"{package.__name__}.{name} is in __all__ but is not there"
        elif not has_docstring(getattr(package, name), name):
            yield f"{package.__name__}.{name} has no docstring"


def has_docstring(value: object, name: str) -> bool:
    """Whether a class, function or module has a docstring of its own; constants cannot have one."""
    if not isinstance(value, (type, types.ModuleType)) and not inspect.isroutine(value):
        return True
    doc = (vars(value).get("__doc__") if isinstance(value, type) else value.__doc__) or ""
    return bool(doc) and not doc.startswith(f"{name}(")  # a dataclass without one is given its signature


def check_readme(root: Path) -> Iterator[str]:
    """The README's Python compiles, and the commands that start everything are named."""
    readme = root / "README.md"
    if not readme.exists():
        yield "README.md is missing"
        return
    text = readme.read_text()
    for number, code in enumerate(PYTHON.findall(text), 1):
        try:
            compile(code, f"README.md, Python example {number}", "exec")
        except SyntaxError as error:
            yield f"README.md: Python example {number} does not compile: {error.msg}, line {error.lineno} of it"
    for command in COMMANDS:
        if command not in text:
            yield f"README.md: does not name `{command}`"


def run_command(command: str) -> str:
    """What a ``hogwild`` command prints at a fixed width, without colour."""
    program, *arguments = command.split()
    if program != "hogwild":
        raise SystemExit(f"only hogwild commands are run for the docs, not {command!r}")
    width = str(WIDTH)
    env = {**os.environ, "COLUMNS": width, "TERMINAL_WIDTH": width, "NO_COLOR": "1", "TERM": "dumb"}
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        env.pop(name, None)
    path = Path(sys.executable).with_name(program)
    done = subprocess.run(
        [path, *arguments], check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"`{command}` failed: {(done.stderr or done.stdout).strip()}")
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def all_commands() -> list[str]:
    """The help of the program and of each command below it, as command lines."""
    import typer.main

    from hogwild.cli import app

    def below(command: object, line: str) -> Iterator[str]:
        yield f"{line} --help"
        for name, child in getattr(command, "commands", {}).items():
            if not child.hidden:
                yield from below(child, f"{line} {name}")

    return list(below(typer.main.get_command(app), "hogwild"))


def problems(root: Path) -> Iterator[str]:
    """Everything that is wrong, one line each."""
    yield from check_links(root)
    yield from check_generated(root, run_command, all_commands())
    yield from check_architecture(root)
    yield from check_public_names(importlib.import_module("hogwild"))
    yield from check_readme(root)


def main() -> int:
    """Check, or write and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="bring the generated parts up to date first")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the repository")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.root, run_command)
    found = list(problems(arguments.root))
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"docs: {len(found)} problems" if found else "docs: all is well")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
