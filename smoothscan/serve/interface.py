"""The words that the server's parts share: what is scanned, who scans, and what becomes of a delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from smoothscan.posture import Standing

Version = tuple[str, str]
"""Name and version of a registered model."""

Outcome = Literal[
    "queued", "duplicate", "ignored", "forged", "late", "malformed", "oversized", "slow", "full", "unavailable"
]
"""What becomes of one request to the webhook's address."""


class ScanVersions(Protocol):
    """Scans versions of registered models, those that need it."""

    def __call__(self, versions: Sequence[Version], /) -> Mapping[Version, Standing]:
        """Return what is known of each version afterwards; one that is missing was not reached.

        Raises:
            SmoothscanError: none of them can be scanned now, for example because the registry does not answer.
        """


class Refused(Exception):  # noqa: N818 (an answer, not an error of the program)
    """A request that is not taken.

    Args:
        status: HTTP status.
        outcome: how it is counted.
        word: all that the sender is told.
    """

    def __init__(self, status: int, outcome: Outcome, word: str) -> None:
        super().__init__(word)
        self.status = status
        self.outcome = outcome
        self.word = word
