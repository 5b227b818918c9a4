"""The null hypothesis within one model, and the p-value against it.

Null: every class is an ordinary one; the log e50 of a model's classes are independent draws from one normal
distribution, whose spread differs from model to model by a scaled inverse chi-squared law (the prior of Smyth 2004,
section 3). The statistic is the largest R over the classes (`budget.standing`), in units of the spread, which is taken
from the ordinary classes below their median, since a continuation stops once the median is known, and is moderated
towards the usual one because these are few. Its law depends on K and on how many classes are searched in full, and is
simulated: the sorting, the choice of the gap, the maximum over the classes and the choice of the easiest are all part
of it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from smoothscan.verdict.budget import Floats, ordinary

USUAL_SPREAD = 0.2
"""Usual spread of log e50 below a model's median; see docs/detection.md."""
USUAL_WEIGHT = 8.0
"""Degrees of freedom that the usual spread is worth."""
MIN_CLASSES = 8
"""Fewest classes that make a null within the model."""
DRAWS = 4000
"""Simulated models; no p-value is smaller than 1 / (DRAWS + 1)."""
_CHUNK = 2**20


def p_values(
    log_e50: Floats, anomaly: Floats, sampled: NDArray[np.bool_] | None = None, n_classes: int | None = None
) -> Floats | None:
    """Return the chance, for every class, that the most anomalous of K ordinary ones is as anomalous, [E], in (0, 1].

    None where there are too few classes.

    Args:
        log_e50: logarithm of e50 as `lower_bounds` gives it, of the classes that were searched in full, [E].
        anomaly: R of each of them, [E].
        sampled: which of them were drawn at random, [E]; all if left out. The others count as the easiest of the rest,
            which is what a screening looks for: where it misses some, a p-value is larger than need be.
        n_classes: number of classes K; E if left out.
    """
    k, drawn = n_classes or len(log_e50), len(log_e50) if sampled is None else int(sampled.sum())
    if k < MIN_CLASSES:
        return None
    null = _null(k, drawn, len(log_e50) - drawn)
    above = len(null) - np.searchsorted(null, anomaly / _spread(log_e50, sampled))
    p: Floats = (1 + above) / (1 + len(null))
    return p


def _spread(log_e50: Floats, sampled: NDArray[np.bool_] | None) -> Floats:
    """Return the moderated spread of the ordinary classes of models [..., E], [..., 1]."""
    apart, _ = ordinary(log_e50, sampled)
    values = np.where(apart if sampled is None else apart | ~sampled, np.nan, log_e50)
    below = (np.nanmedian(values, axis=-1, keepdims=True) - values).clip(min=0)
    squares, count = np.nansum(below**2, axis=-1), (below > 0).sum(-1)
    spread: Floats = np.sqrt((USUAL_WEIGHT * USUAL_SPREAD**2 + squares) / (USUAL_WEIGHT + count))[..., None]
    return spread


@cache
def _null(k: int, drawn: int, ahead: int) -> Floats:
    """Return the statistic of models without a backdoor, ascending, [DRAWS]; always the same for the same arguments.

    Args:
        k: number of classes.
        drawn: how many of them stand for the others.
        ahead: how many of the rest, the easiest, are looked at as well.
    """
    rng = np.random.default_rng(k)
    sampled = np.arange(drawn + ahead) < drawn
    statistics = []
    for start in range(0, DRAWS, max(_CHUNK // k, 1)):
        count = min(max(_CHUNK // k, 1), DRAWS - start)
        spread = USUAL_SPREAD * np.sqrt(USUAL_WEIGHT / rng.chisquare(USUAL_WEIGHT, (count, 1)))
        every = spread * rng.standard_normal((count, k))
        log_e50 = np.concatenate([every[:, :drawn], np.sort(every[:, drawn:], axis=-1)[:, :ahead]], 1)
        anomaly = ordinary(log_e50, sampled)[1] - log_e50
        statistics.append((anomaly / _spread(log_e50, sampled)).max(-1))
    return np.sort(np.concatenate(statistics))
