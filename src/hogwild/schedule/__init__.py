"""Many teams over one engine: their passes are fused, their text never mixes."""

from hogwild.schedule.job import Job
from hogwild.schedule.scheduler import Scheduler
from hogwild.schedule.stats import Stats

__all__ = ["Job", "Scheduler", "Stats"]
