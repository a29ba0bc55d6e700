"""What Prometheus reads at ``/metrics``: counters of the scheduler, and times that the events tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hogwild.schedule import Scheduler
from hogwild.team.events import CheckAsked, Event, Prefilled, Started, Token

if TYPE_CHECKING:
    from hogwild.server.record import TeamRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "HTTP requests", ("path", "status"))
        self.tokens = self._counter("tokens", "Tokens written, by the worker's place in its team", ("worker",))
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of the prompts of teams that were admitted")
        self.teams = self._counter("teams", "Teams that have ended, by state and reason", ("state", "reason"))
        self.checks = self._counter("redundancy_checks", "Times that a worker was asked whether its work is redundant")
        self.first = self._times("time_to_first_token_seconds", "From the request to the first token of its team")
        self.between = self._times("inter_token_seconds", "Between two tokens of a worker")
        self.whole = self._times("team_seconds", "From the request to the end of its team")
        self.registry.register(_Stats(scheduler))

    def _counter(self, name: str, what: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"hogwild_{name}", what, labels, registry=self.registry)

    def _times(self, name: str, what: str) -> Histogram:
        return Histogram(f"hogwild_{name}", what, buckets=_SECONDS, registry=self.registry)

    def watching(self, write: Callable[[Event], None]) -> Callable[[Event], None]:
        """``write``, which takes a team's events, but they are counted as well."""
        asked, last, places = time.perf_counter(), dict[str, float](), dict[str, str]()

        def count(event: Event) -> None:
            if isinstance(event, Token):
                now = time.perf_counter()
                if event.worker in last:
                    self.between.observe(now - last[event.worker])
                elif not last:
                    self.first.observe(now - asked)
                last[event.worker] = now
                self.tokens.labels(places.setdefault(event.worker, str(len(places)))).inc()
            elif isinstance(event, Started):
                places.update((name, str(place)) for place, name in enumerate(event.workers))
            elif isinstance(event, Prefilled) and event.done == event.total:
                self.prompt_tokens.inc(event.total)
            elif isinstance(event, CheckAsked):
                self.checks.inc()
            write(event)

        return count

    def ended(self, record: TeamRecord) -> None:
        """A team has ended."""
        reason = record.finished.reason if record.finished else ""
        self.teams.labels(record.state, reason).inc()
        self.whole.observe(max(0.0, time.time() - record.created))

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)


class _Stats:
    """The scheduler's own numbers, read when they are asked for."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        """One metric a number."""
        for name, value in asdict(self._scheduler.stats).items():
            kind = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
            yield kind(f"hogwild_scheduler_{name}", f"The scheduler's {name.replace('_', ' ')}", value=value)


_GAUGES = frozenset({"queued", "running", "paused", "pages_used", "pages_total", "longest_pass"})
