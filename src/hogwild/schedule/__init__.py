"""Many teams over one engine: their passes are fused, their text never mixes."""

from hogwild.schedule.job import Job
from hogwild.schedule.scheduler import Scheduler
from hogwild.schedule.stats import Stats
from hogwild.schedule.together import run_together

__all__ = ["Job", "Scheduler", "Stats", "run_together"]
