"""How long a stage takes, whoever is told."""

from __future__ import annotations

import time


class Clock:
    """How long a stage has run and how long it will still take."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a stage."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._began

    def left(self, done: float, total: float) -> float | None:
        """Seconds that are left at the present pace; None where that is too early to say."""
        return self.elapsed * (total - done) / done if 0 < done < total and self.elapsed > 1 else None
