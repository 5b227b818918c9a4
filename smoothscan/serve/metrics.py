"""What the server tells Prometheus about itself. Labels come from closed lists, never from a delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from smoothscan.errors import Status
from smoothscan.posture import Standing
from smoothscan.result import VerdictName
from smoothscan.serve.interface import Outcome
from smoothscan.serve.queue import Queue, QueueUnavailableError

_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """Counters since the start, and the queue as it is.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: Queue) -> None:
        self._registry = CollectorRegistry()
        self._deliveries = Counter(
            "smoothscan_deliveries", "Requests to the webhook's address.", ["outcome"], registry=self._registry
        )
        self._scans = Counter(
            "smoothscan_scans",
            "Versions that were scanned, by verdict, or by status where there is none.",
            ["result"],
            registry=self._registry,
        )
        self._kept = Counter(
            "smoothscan_scans_spared", "Versions whose earlier scan still holds.", registry=self._registry
        )
        self._postponed = Counter(
            "smoothscan_scans_postponed",
            "Versions that were taken up and came to no result.",
            registry=self._registry,
        )
        self._seconds = Histogram(
            "smoothscan_scan_seconds", "Wall time of a scan.", buckets=_SECONDS, registry=self._registry
        )
        self._held_up = Gauge(
            "smoothscan_scanner_held_up",
            "1 while no version can be scanned at all, such as while the registry does not answer.",
            registry=self._registry,
        )
        for outcome in get_args(Outcome):  # a rate needs the zero that comes before the one
            self._deliveries.labels(outcome)
        for result in (*get_args(VerdictName), *get_args(Status)):
            self._scans.labels(result)
        self._registry.register(_QueueCollector(queue))

    def delivery(self, outcome: Outcome) -> None:
        """Count a request."""
        self._deliveries.labels(outcome).inc()

    def scan(self, standing: Standing) -> None:
        """Count a version with a result."""
        if standing.action == "kept":
            self._kept.inc()
            return
        self._scans.labels(result_of(standing)).inc()
        if standing.seconds is not None:
            self._seconds.observe(standing.seconds)

    def postponed(self, versions: int) -> None:
        """Count versions without a result."""
        self._postponed.inc(versions)

    def held_up(self, state: bool) -> None:
        """Say whether no version can be scanned at present."""
        self._held_up.set(state)

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)


def result_of(standing: Standing) -> str:
    """Return the verdict, or the status where there is none."""
    return standing.verdict or standing.status or "failed"


class _QueueCollector(Collector):
    """Looks at the queue whenever it is asked."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the names alone, so that registering reads nothing."""
        yield GaugeMetricFamily("smoothscan_queue_deliveries", "Accepted deliveries by state.", labels=["state"])
        yield GaugeMetricFamily("smoothscan_queue_oldest_seconds", "Age of the oldest delivery without a result.")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the present values; none while the queue cannot be read, for there a zero would be wrong."""
        try:
            depth = self._queue.depth()
        except QueueUnavailableError:
            return
        deliveries, oldest = self.describe()
        for state, number in depth.rows.items():
            deliveries.add_metric([state], number)
        oldest.add_metric([], depth.oldest_age)
        yield deliveries
        yield oldest
