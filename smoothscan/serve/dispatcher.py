"""Takes deliveries from the queue and has their versions scanned, one batch at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from smoothscan.errors import SmoothscanError
from smoothscan.events import Events
from smoothscan.posture import Standing
from smoothscan.serve.interface import ScanVersions, Version
from smoothscan.serve.metrics import Metrics, result_of
from smoothscan.serve.queue import Queue, QueueUnavailableError, pause_after

BATCH = 16
"""Most versions of a batch: enough for the workers of a sweep, few enough that results are soon recorded."""
_IDLE = 60.0
_PRUNE_EVERY = 3600.0


class Dispatcher:
    """The loop between the queue and the scanner.

    Args:
        queue: where deliveries wait.
        scan: scans versions.
        events: hears about results and trouble.
        metrics: counts them.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        queue: Queue,
        scan: ScanVersions,
        events: Events,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._scan = scan
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._failures = 0  # batches in a row that could not be scanned at all
        self._hold_until = clock()
        self._prune_at = clock()

    def wake(self) -> None:
        """Say that a delivery was put into the queue."""
        self._changed.set()

    def end(self) -> None:
        """Let `run` return after the present batch."""
        self._ended.set()
        self._changed.set()

    def run(self) -> None:
        """Work until `end` is called. Ctrl-C and SIGTERM interrupt a running scan, as they do in a single one."""
        while not self._ended.is_set():
            try:
                wait = self.step()
            except QueueUnavailableError as error:
                self._events.warning(f"the queue {self._queue.path} cannot be used at present: {error}")
                wait = pause_after(1)
            if wait > 0:
                self._changed.wait(wait)
                self._changed.clear()  # what was put in after the last step is seen by the next one

    def step(self) -> float:
        """Scan one batch.

        Returns:
            Seconds until there may be something to do, unless a delivery comes before.

        Raises:
            QueueUnavailableError: the queue cannot be read or written; what the batch had taken up is taken up again.
        """
        now = self._clock()
        if now < self._hold_until:
            return self._hold_until - now
        if now >= self._prune_at:
            self._queue.prune()
            self._prune_at = now + _PRUNE_EVERY
        versions = self._queue.take(BATCH)
        if not versions:
            seconds = self._queue.seconds_to_next()
            return _IDLE if seconds is None else min(_IDLE, seconds)
        try:
            standings = self._scan(versions)
        except SmoothscanError as error:
            self._hold(versions, error.message)
        except Exception as error:  # what one version brings out ends no server, and keeps no other version waiting
            reason = f"this is a bug in smoothscan: {type(error).__name__}: {error}"
            self._events.warning(f"{', '.join(map(_uri, versions))} could not be scanned: {reason}")
            self._postpone(versions, reason)
        else:
            self._failures = 0
            self._metrics.held_up(False)
            self._record(versions, standings)
        return 0.0

    def _record(self, versions: Sequence[Version], standings: Mapping[Version, Standing]) -> None:
        unreached = []
        for version in versions:
            standing = standings.get(version)
            if standing is None or standing.action == "pending":
                unreached.append(version)
                continue
            self._queue.finish(version, result_of(standing), standing.reason)
            self._metrics.scan(standing)
            done = "was scanned before" if standing.action == "kept" else "was scanned"
            self._events.info(f"{_uri(version)} {done}: {result_of(standing)}")
        if unreached:
            self._postpone(unreached, "the scan did not reach it")

    def _hold(self, versions: Sequence[Version], reason: str) -> None:
        """Put a whole batch back, and leave the others alone for a while: what stopped it would stop them as well."""
        self._failures += 1
        self._metrics.held_up(True)
        pause = pause_after(self._failures)
        self._hold_until = self._clock() + pause
        self._events.warning(f"no version can be scanned, the next attempt is in {pause:.0f} s: {reason}")
        self._postpone(versions, reason)

    def _postpone(self, versions: Sequence[Version], reason: str) -> None:
        self._metrics.postponed(len(versions))
        for version in self._queue.postpone(versions, reason):
            self._events.warning(f"{_uri(version)} is given up after too many attempts, the last one: {reason}")


def _uri(version: Version) -> str:
    return f"models:/{version[0]}/{version[1]}"
