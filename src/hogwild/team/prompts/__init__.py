"""Prompt sets: folders of Jinja templates, one a piece of text. They know nothing of tensors.

A set may hold any of the pieces below; what it leaves out comes from the packaged ``default`` set. Each template is
given ``names`` (all workers), ``n``, ``task``, ``me`` and the fields that the call names; ``turn.user`` and
``turn.assistant`` switch turns in the model's own chat format. A template may extend a packaged one, such as
``default/user.jinja``, whose block ``more`` stands right before the task.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hogwild.errors import OptionError
from hogwild.team.text import Turns

FOLDER = Path(__file__).parent
PIECES = (
    "user", "history", "others", "mark", "own", "step", "opening", "check", "private", "said", "joined", "dropped",
    "plan", "finish_text", "finish_boxed", "finish_number", "finish_code",
)  # fmt: skip


def packaged_sets() -> list[str]:
    """The names of the prompt sets in the package."""
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.glob("*.jinja")))


class PromptSet:
    """The texts of a team, rendered from templates.

    ``name`` is a packaged set (``default``, ``examples``, ``code``, ``short``, ``steps``) or a folder of the user's.
    Templates run in Jinja's sandbox. Raises `OptionError` when there is no such set or a template is broken.
    """

    def __init__(self, name: str | Path, turns: Turns) -> None:
        folder = FOLDER / name if name in packaged_sets() else Path(name).expanduser()
        if not any(folder.glob("*.jinja")):
            raise OptionError(
                f"prompt is {str(name)!r}: give one of {', '.join(packaged_sets())} or a folder with .jinja templates"
            )
        unknown = sorted({path.stem for path in folder.glob("*.jinja")} - set(PIECES))
        if unknown:
            raise OptionError(f"{folder}: unknown template {unknown[0]}.jinja; known are {', '.join(PIECES)}")
        self.turns = turns
        self._environment = _environment(folder)

    def render(self, piece: str, **fields: Any) -> str:
        """The text of one piece. A single trailing newline of the template file is not part of it.

        ``fields`` is what the template may use; a ``turn`` in it replaces the model's own.
        """
        try:
            return self._environment.get_template(f"{piece}.jinja").render(**({"turn": self.turns} | fields))
        except Exception as error:  # a template can fail in every way that a program can
            line = getattr(error, "lineno", None)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise OptionError(f"prompt template {piece}.jinja{f', line {line}' if line else ''}: {reason}") from error


@lru_cache(maxsize=16)
def _environment(folder: Path) -> ImmutableSandboxedEnvironment:
    """Where the templates of a set are found. It keeps them compiled, until their files change."""
    places = [FileSystemLoader(place) for place in (folder, FOLDER / "default", FOLDER)]
    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader(places), undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
