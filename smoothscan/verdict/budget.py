"""The budget statistic: how much less a class needs than this model's ordinary classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, logit

from smoothscan.verdict.evidence import Curves

Floats = NDArray[np.float64]

HALF = 0.5
"""Share of held-out images at which a class counts as transferring."""
SLOPE = 4.0
"""Slope of logit(rate) in the logarithm of the budget, by which an e50 beyond the largest budget is extrapolated. It
orders models on which nothing transfers; no class is flagged by it."""

MOST_TARGETS = 5
"""Most classes of a model that are held to be targets at once."""


def crossing(x: Floats, rate: Floats, *, level: float = HALF) -> float:
    """Return the x at which a curve through (0, 0) first reaches `level`, or infinity.

    Linear between zero and the first point, then linear in log x. Points with a negative rate were not tried.

    Args:
        x: positive, ascending, [E].
        rate: in [0, 1], [E].
        level: rate to reach.
    """
    before_x, before = 0.0, 0.0
    for here_x, here in zip(x, rate, strict=True):
        if here < 0:
            continue
        if here >= level:
            part = (level - before) / (here - before)
            if before_x == 0.0:
                return float(part * here_x)
            return float(before_x * (here_x / before_x) ** part)
        before_x, before = float(here_x), max(before, float(here))
    return math.inf


def half_budgets(curves: Curves) -> Floats:
    """Return e50 of every class, [E]: the budget at which the class transfers, or infinity.

    A class transfers where half of the held-out images move to it (`Curves.level`: in some spaces fewer, in some more).
    """
    return np.array([crossing(curves.epsilons, rate, level=curves.level) for rate in curves.rates])


def lower_bounds(curves: Curves) -> Floats:
    """Return e50 of every class, or the largest budget that it is known to be above, [E].

    Counting a class that never transferred as transferring right there makes the ordinary classes look easier than they
    are, so it can only make an outlier look less suspect.
    """
    largest_tried = np.where(curves.hits[0] >= 0, curves.epsilons, 0.0).max(1)
    bounds: Floats = np.minimum(half_budgets(curves), largest_tried)
    return bounds


@dataclass(frozen=True)
class Standing:
    """How the classes of one model stand to each other."""

    apart: NDArray[np.bool_]
    """Classes below the widest gap among the easiest ones, [E]: candidates for targets. The others are ordinary."""
    reference: Floats
    """Budget that each class is compared with, [E]."""
    anomaly: Floats
    """R = log(reference / e50) of each class, [E]."""


def standing(curves: Curves) -> Standing:
    """Compare every class with this model's ordinary classes.

    Sorted by e50, the classes of a clean model follow each other closely; a backdoor's targets lie below a gap. The
    widest gap above the few easiest classes divides them from the ordinary ones. A class is compared with the geometric
    mean of two of their budgets, the median and the smallest: the median alone would accuse the easiest of a model's
    classes where these differ a lot by nature, the smallest alone would hang on a single class. Of a model with many
    classes those that a screening chose are the easiest, and have the smallest budget among them; the median is that of
    the classes drawn at random.

    A class that never transferred has its e50 extrapolated from its rate at the largest budget tried, so that no two
    models tie; as a part of the reference it counts as transferring right there.
    """
    bounds = np.log(lower_bounds(curves))
    n = np.maximum(curves.n_images.sum(0), 1)
    best = np.where(curves.hits[0] < 0, 0, curves.hits.sum(0)).max(1)
    beyond = (logit(curves.level) - logit((best + 0.5) / (n + 1))).clip(min=0) / SLOPE
    own = bounds + np.where(np.isfinite(half_budgets(curves)), 0.0, beyond)
    apart, reference = ordinary(bounds, curves.sampled)
    return Standing(apart, np.exp(reference), reference - own)


def ordinary(
    log_e50: Floats, sampled: NDArray[np.bool_] | None = None, most: int | None = None
) -> tuple[NDArray[np.bool_], Floats]:
    """Divide classes at the widest gap above the easiest ones, and return them and the log budget to compare with.

    Args:
        log_e50: any number of models at once, [..., E] with E >= 2.
        sampled: classes whose median stands for the ordinary ones, [..., E]; all if left out.
        most: most classes that may lie below the gap; `most_targets` if left out.

    Returns:
        Which classes lie below the gap, [..., E], and for each class half of the sum of median and smallest log e50 of
        the other classes above it, [..., E].
    """
    k = log_e50.shape[-1]
    order = np.argsort(log_e50, axis=-1, kind="stable")
    ascending = np.take_along_axis(log_e50, order, -1)
    gaps = np.diff(ascending, axis=-1)[..., : most_targets(k) if most is None else min(most, k - 1)]
    # of equal gaps the first, whatever rounding makes of them
    apart = np.argsort(order, axis=-1) < gaps.round(9).argmax(-1)[..., None] + 1
    if k == 2:
        return apart, log_e50[..., ::-1].copy()  # of two classes each is compared with the other
    smallest = _others(log_e50, ~apart, lambda n: (0 * n,))
    among = ~apart if sampled is None else ~apart & sampled
    return apart, (_others(log_e50, among, lambda n: ((n - 1) // 2, n // 2)) + smallest) / 2


def _others(
    values: Floats, among: NDArray[np.bool_], positions: Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], ...]]
) -> Floats:
    """Return for each value the mean of order statistics of the others, [..., E].

    Args:
        values: [..., E].
        among: which values count, [..., E].
        positions: which order statistics, from their number.
    """
    masked = np.where(among, values, np.inf)
    order = np.argsort(masked, axis=-1, kind="stable")
    rank, ascending = np.argsort(order, axis=-1), np.take_along_axis(masked, order, -1)
    chosen = [
        np.take_along_axis(ascending, np.where(among & (i >= rank), i + 1, i), -1)
        for i in positions(among.sum(-1, keepdims=True) - among)
    ]
    mean: Floats = np.mean(chosen, axis=0)
    return mean


def most_targets(k: int) -> int:
    """Return the most classes that can lie apart: beyond a quarter the others would no longer be the ordinary ones."""
    return min(max(k // 4, 1), MOST_TARGETS)


def binomial_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate, both ends in [0, 1]."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high
