"""Which classes of a model are suspect by themselves, as far as a result tells: for whoever sets the targets aside."""

from __future__ import annotations

import math

from smoothscan.result import Level, ScanResult, SpaceResult, Suspicion
from smoothscan.verdict.calibration import ALPHA
from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS, level_of
from smoothscan.verdict.decision import score as score_of


def suspicions(result: ScanResult) -> tuple[Suspicion, ...]:
    """Return the classes that are suspect by themselves, most anomalous first, targets included.

    Older results name the most anomalous class of each space, and have the scores of all classes of one space.
    """
    if result.suspicions is not None:
        return result.suspicions
    labels = {c.index: c.label for c in result.classes}
    found = [_suspicion(space.index, labels, space.anomaly, space) for space in result.spaces]
    main = next((space for space in result.spaces if space.space == result.space), None)
    found += [
        _suspicion(c.index, labels, _anomaly(c.score), main)
        for c in result.classes
        if c.found_by != "pairs"  # the pairs tell of it, and its score is theirs
    ]
    largest: dict[int, Suspicion] = {}
    for each in sorted(found, key=lambda each: -each.anomaly):
        if each.anomaly >= SUSPICIOUS:
            largest.setdefault(each.index, each)
    return tuple(largest.values())


def untold(result: ScanResult, least: Level) -> bool:
    """Tell whether there may be a further class of at least this level of which the result does not say.

    Of spaces other than the reported one an older result tells the most anomalous class alone; and what a large
    calibration would say of a further class, it does not tell.
    """
    if result.suspicions is not None:
        return False
    threshold = BACKDOORED if least == "backdoored" else SUSPICIOUS
    if result.calibration is not None and result.calibration.smallest_p <= ALPHA:
        return True
    return any(space.anomaly >= threshold for space in result.spaces if space.space != result.space)


def _suspicion(index: int, labels: dict[int, str], anomaly: float, space: SpaceResult | None) -> Suspicion:
    return Suspicion(
        index=index,
        label=labels.get(index, str(index)),
        level=level_of(anomaly),
        anomaly=anomaly,
        space=space and space.space,
    )


def _anomaly(score: float) -> float:
    """Return R of a score; see `decision.score`. What rounding has made a zero or a one is far from the thresholds."""
    if score_of(SUSPICIOUS) <= score < 1:
        return SUSPICIOUS + math.log(score / (1 - score)) / 4
    return BACKDOORED + 1 if score >= 1 else 0.0
