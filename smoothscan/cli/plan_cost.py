"""About how long the scans that are due would take, told from scans that the ledger knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from smoothscan.sinks.text import count, duration

if TYPE_CHECKING:
    from smoothscan.fleet.ledger import Entry
    from smoothscan.fleet.plan import Planned


def cost_in_short(planned: Sequence[Planned]) -> str:
    """Return in a sentence how long the scans that are due would take one after the other; empty if nothing is due.

    A version is expected to take what its own last scan under the same settings took, else the median of other
    versions' scans under them. Settings that no completed scan was under say nothing.
    """
    waiting = [each for each in planned if each.due and each.order.problem is None]
    if not waiting:
        return ""
    past: defaultdict[str, list[float]] = defaultdict(list)
    for each in planned:
        if (seconds := _seconds(each.known)) is not None and each.known is not None:
            past[each.known.config_digest].append(seconds)
    expected = [_expected(each, past[each.order.digest]) for each in waiting]
    known = [seconds for seconds in expected if seconds is not None]
    if not known:
        return "How long that takes is not known: the ledger has no completed scan with these settings."
    rest = len(waiting) - len(known)
    more = f"; of {count(rest, 'more version')} nothing is known" if rest else ""
    return f"About {duration(sum(known))} of scans, one after the other, as scans with these settings took{more}."


def _expected(planned: Planned, past: Sequence[float]) -> float | None:
    """Return what a scan of a version is expected to take in seconds; None if nothing is known."""
    own = _seconds(planned.known)
    if own is not None and planned.known is not None and planned.known.config_digest == planned.order.digest:
        return own
    return median(past) if past else None


def _seconds(entry: Entry | None) -> float | None:
    """Return what a completed scan took in seconds."""
    from smoothscan.fleet.standing import summary_of

    if entry is None or entry.status != "completed":
        return None
    seconds = summary_of(entry).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
