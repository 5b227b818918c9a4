"""What a scan tells while it runs. The terminal, a log or nothing at all listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ranked:
    """One line of the current ranking of classes."""

    index: int
    """Class."""
    label: str
    """Name of the class."""
    transfer_rate: float
    """Transfer at the newest budget, in [0, 1]."""
    e50: float | None
    """Budget of half transfer, once known."""


class Events(Protocol):
    """Receives the progress of one scan."""

    def stage(self, name: str, detail: str = "") -> None:
        """A new stage begins, such as `download` or `invert`."""

    def progress(self, done: float, total: float) -> None:
        """`done` of `total` units of the present stage are finished; `total` may shrink."""

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """The classes as they stand, most suspect first."""

    def info(self, message: str) -> None:
        """Something worth a line in a verbose log."""

    def warning(self, message: str) -> None:
        """Something the user should know, although the scan goes on."""


class Silent:
    """Tells nobody."""

    def stage(self, name: str, detail: str = "") -> None:
        """Ignore."""

    def progress(self, done: float, total: float) -> None:
        """Ignore."""

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """Ignore."""

    def info(self, message: str) -> None:
        """Ignore."""

    def warning(self, message: str) -> None:
        """Ignore."""
