"""Work on finished scans beside the sweep's own thread: a registry with passwords takes seconds to write to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from smoothscan.posture import Standing

Piece = Callable[[], Standing]
"""Records a scan, and says how its version stands then."""
_AT_ONCE = 4
"""Scans that are recorded side by side on a server. A database in a file has one writer at a time anyway."""


class Recorder:
    """Does pieces of work in a few threads. All methods are for one thread, which gets what came of each piece.

    Args:
        registry: where the pieces write to.
    """

    def __init__(self, registry: str) -> None:
        self._threads = _AT_ONCE if registry.startswith(("http://", "https://")) else 1
        self._running = 0
        self._given: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[Standing | BaseException] = queue.SimpleQueue()
        self.pending = 0
        """Pieces whose end was not taken yet."""

    @property
    def is_full(self) -> bool:
        """Whether to take an end before another piece is added: scans that wait have their pictures in memory."""
        return self.pending > 2 * self._threads

    def add(self, piece: Piece) -> None:
        """Begin a piece of work as soon as a thread is free."""
        if self._running < self._threads:
            self._running += 1
            # Whoever cannot wait may leave: what is not recorded then is left to the next sweep.
            threading.Thread(target=self._work, daemon=True).start()
        self.pending += 1
        self._given.put(piece)

    def take(self, *, wait: bool) -> Standing | None:
        """Return what came of a piece, or raise what it raised; None if there is nothing to take, or to wait for.

        Args:
            wait: whether to wait for the end of a piece.
        """
        if not self.pending or (self._ends.empty() and not wait):
            return None
        end = self._ends.get()
        self.pending -= 1
        if isinstance(end, BaseException):
            raise end
        return end

    def stop(self) -> Iterator[Standing]:
        """Begin no further piece, and wait for those that were begun; yield what came of them, errors apart."""
        with suppress(queue.Empty):
            while self._running:
                self._given.get_nowait()
                self.pending -= 1
        for _ in range(self._running):
            self._given.put(None)
        self._running = 0
        while self.pending:
            end = self._ends.get()
            self.pending -= 1
            if isinstance(end, Standing):
                yield end

    def _work(self) -> None:
        while (piece := self._given.get()) is not None:
            try:
                self._ends.put(piece())
            except BaseException as error:  # whatever it is, somebody waits for an end
                self._ends.put(error)
