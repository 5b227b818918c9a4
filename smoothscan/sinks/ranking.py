"""The order in which classes are shown: on pages, in notebooks, on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from smoothscan.result import ClassResult


def ranked(classes: Iterable[ClassResult]) -> list[ClassResult]:
    """Return the classes, most suspect first: the flagged ones, then by score; ties by transfer and index."""
    return sorted(classes, key=lambda c: (not c.flagged, -c.score, -c.transfer_rate, c.index))
