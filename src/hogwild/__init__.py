"""Hogwild: parallel LLM generation via concurrent attention.

Three levels, from the outside in:

    solve(task), stream(task)         a task in, an answer or typed events out; solve_many(tasks)
    Team, Worker, Sampling, Layout    teams of workers, step by step
    Tool                              what workers may call
    Engine, Row, Block                blocks and views over one shared KV cache
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hogwild.api import solve, solve_many, stream
    from hogwild.engine import Block, Engine, Row
    from hogwild.errors import HogwildError
    from hogwild.sampling import Sampling
    from hogwild.team.events import Event
    from hogwild.team.layout import Layout
    from hogwild.team.team import Team
    from hogwild.team.tools import Tool
    from hogwild.team.worker import Worker

__all__ = [
    "Block",
    "Engine",
    "Event",
    "HogwildError",
    "Layout",
    "Row",
    "Sampling",
    "Team",
    "Tool",
    "Worker",
    "solve",
    "solve_many",
    "stream",
]
__version__ = "0.1.0"

_HOMES = {
    "hogwild.api": ("solve", "solve_many", "stream"),
    "hogwild.engine": ("Block", "Engine", "Row"),
    "hogwild.errors": ("HogwildError",),
    "hogwild.sampling": ("Sampling",),
    "hogwild.team.events": ("Event",),
    "hogwild.team.layout": ("Layout",),
    "hogwild.team.team": ("Team",),
    "hogwild.team.tools": ("Tool",),
    "hogwild.team.worker": ("Worker",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, and ``hogwild --help`` needs none of it."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'hogwild' has no attribute {name!r}")
