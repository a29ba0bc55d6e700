"""Teams: several workers on one task, as typed events."""

from hogwild.team.events import Event
from hogwild.team.layout import Layout
from hogwild.team.settings import Settings
from hogwild.team.team import Team
from hogwild.team.worker import Worker

__all__ = ["Event", "Layout", "Settings", "Team", "Worker"]
