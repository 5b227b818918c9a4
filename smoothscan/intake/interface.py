"""What brings a model from wherever it is to a classifier that can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smoothscan.config import ScanConfig
from smoothscan.events import Events
from smoothscan.result import InputSpec, ModelInfo, SafetyReport

if TYPE_CHECKING:
    from smoothscan.classifier.asked import AskedClassifier


class Known(Protocol):
    """What becomes known of a model on its way; it counts also where the way ends early."""

    config: ScanConfig
    """What was asked for."""
    model: ModelInfo
    """Which model it is, as far as it is pinned."""
    safety: SafetyReport
    """What was seen in its files, and what holds it."""
    input_spec: InputSpec | None
    """How images are handed to it."""
    started: float
    """Start, on the monotonic clock."""


class Intake(Protocol):
    """The way of one model. One file for each kind."""

    threads: int | None
    """Threads that the scanner computes on while the model is asked; None leaves them as they are."""

    def bring(self, known: Known, events: Events) -> InputSpec:
        """Find out which model it is, whether it may be loaded, and how images are handed to it.

        Args:
            known: receives each of these as soon as it is known.
            events: told how far it is.

        Raises:
            SmoothscanError: it is not there, not to be loaded, or not to be asked.
        """

    def load(self, known: Known, events: Events) -> AskedClassifier:
        """Return the classifier; after `bring`.

        Raises:
            SmoothscanError: it does not load, or is no image classifier.
        """

    def labels(self, given: tuple[str, ...] | None, n_classes: int) -> tuple[str, ...] | None:
        """Return the names of the classes, those that are given first; None if nobody knows them.

        Raises:
            ConfigError: those that are given are not as many as the classes.
        """

    def peak_rss(self) -> int:
        """Return the peak memory in bytes of processes other than this one."""
