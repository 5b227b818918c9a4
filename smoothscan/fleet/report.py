"""What a sweep tells at its end: the posture of the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from smoothscan.draft import environment
from smoothscan.posture import Posture, Standing
from smoothscan.verdict.discoveries import discoveries, with_q_values

_BADNESS = (1, 3, 4, 5, 0)
"""Exit codes, the worst first."""


def posture_of(
    standings: Iterable[Standing],
    *,
    started_at: datetime,
    registry: str,
    selection: Mapping[str, Any],
    engine: str,
    stopped: bool = False,
) -> Posture:
    """Put together what is known of a registry.

    Args:
        standings: what is known of each version.
        started_at: when the sweep began, in UTC.
        registry: the registry, without credentials.
        selection: which versions were looked at.
        engine: who scanned.
        stopped: whether the user stopped the sweep.
    """
    ordered = tuple(sorted(with_q_values(tuple(standings)), key=_worst_first))
    pending = [each for each in ordered if each.action == "pending"]
    codes = [each.exit_code for each in ordered if each.exit_code is not None]
    return Posture(
        started_at=started_at.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        complete=not stopped and not pending,
        registry=registry,
        selection=dict(selection),
        engine=engine,
        models=ordered,
        counts=dict(Counter(count_as(each) for each in ordered)),
        unscanned_promoted=tuple(each.uri for each in ordered if each.aliases and each.action == "pending"),
        discoveries=discoveries(ordered),
        exit_code=min(codes, key=_BADNESS.index, default=0),
        environment=environment(""),
    )


def _worst_first(standing: Standing) -> tuple[int, float, str, int]:
    code = 3 if standing.exit_code is None else standing.exit_code  # never scanned is as little known as failed
    return _BADNESS.index(code), -(standing.score or 0.0), standing.name, int(standing.version)


def count_as(standing: Standing) -> str:
    """Return the verdict of a version, or its status where there is none."""
    if standing.status is None:
        return "unscanned"
    return standing.verdict or standing.status
