"""What a sweep says on the way: what is due, and how each version stands when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smoothscan.posture import Standing
from smoothscan.sinks.text import count, duration, number, plain, shorten

if TYPE_CHECKING:
    from smoothscan.fleet.plan import Planned

PLANNED = ("version", "aliases", "due")
"""Heads of the table of what is due."""
_URI = 60  # columns


def settled(standing: Standing) -> str:
    """Return how a version stands, in one line."""
    parts = [shorten(plain(standing.uri), _URI)]
    if standing.action == "kept":
        parts.append("unchanged" if standing.verdict is None else f"{standing.verdict}, as before")
    else:
        parts.append(standing.verdict or standing.status or "not scanned")
    if standing.score is not None:
        parts.append(f"score {number(standing.score)}")
    if standing.target_classes:
        names = ", ".join(shorten(plain(label), 30) for label in standing.labels)
        parts.append(f"class {names}")
    if standing.waived:
        parts.append(f"{standing.waived} waived")
    if standing.verdict is None and standing.reason:
        parts.append(shorten(plain(standing.reason), 120))
    if standing.write_back.status == "failed":
        parts.append(f"not written back: {shorten(plain(standing.write_back.message), 120)}")
    if standing.action == "scanned" and standing.seconds:
        parts.append(duration(standing.seconds))
    return "  ".join(parts)


def due(planned: Sequence[Planned]) -> list[tuple[str, ...]]:
    """Return a line for each version that is due, in the order in which they would be scanned."""
    return [
        (
            shorten(plain(each.version.uri), _URI),
            shorten(plain(", ".join(each.version.aliases)), 30),
            each.due if each.order.problem is None else f"{each.due}: {plain(each.order.problem.message)}",
        )
        for each in planned
        if each.due
    ]


def due_in_short(planned: Sequence[Planned]) -> str:
    """Return how many versions are due, and why."""
    reasons = Counter(each.due for each in planned if each.due)
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
    of = count(len(planned), "version")
    return f"{sum(reasons.values()):,} of {of} due" + (f": {why}" if why else "")
