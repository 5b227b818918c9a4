"""The budget statistic: how much less a class needs than this model's ordinary classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtr

from smoothscan.verdict.evidence import Curves

Floats = NDArray[np.float64]

HALF = 0.5
"""Share of held-out images at which a class counts as transferring."""
MIN_SPREAD = 0.1
"""Smallest standard deviation of log budgets that is believed: about a quarter of the step between two budgets."""


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
    """Return e50 of every class, [K]: the L2 budget at which half of the held-out images move, or infinity."""
    rates = np.where(curves.hits < 0, -1.0, curves.hits / np.maximum(curves.n_images, 1)[:, None])
    return np.array([crossing(curves.epsilons, rate) for rate in rates])


def lower_bounds(curves: Curves) -> Floats:
    """Return e50 of every class, or the largest budget that it is known to be above, [K].

    Counting a class that never transferred as transferring right there makes the ordinary classes look easier than they
    are, so it can only make an outlier look less suspect.
    """
    largest_tried = np.where(curves.hits >= 0, curves.epsilons, 0.0).max(1)
    bounds: Floats = np.minimum(half_budgets(curves), largest_tried)
    return bounds


def ordinary_budget(e50: Floats) -> Floats:
    """Return, for every class, the median e50 of the other classes, [K].

    Args:
        e50: as `lower_bounds` gives it, [K].
    """
    return np.array([np.median(np.delete(e50, t)) for t in range(len(e50))])


def p_values(e50: Floats) -> Floats | None:
    """Return the chance, for every class, that an ordinary class of this model needs so small a budget, [K].

    One-sided prediction test of log e50 against the other classes' (Student's t), corrected for taking the smallest of
    K classes: 1 - (1 - p)^K. None with fewer than five classes.
    """
    k = len(e50)
    if k < 5:
        return None
    logs = np.log(e50)
    p = np.empty(k)
    for t in range(k):
        others = np.delete(logs, t)
        spread = max(float(others.std(ddof=1)), MIN_SPREAD)
        p[t] = stdtr(k - 2, (logs[t] - others.mean()) / (spread * math.sqrt(1 + 1 / (k - 1))))
    corrected: Floats = -np.expm1(k * np.log1p(-np.minimum(p, 1 - 1e-12)))
    return corrected


def binomial_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate, both ends in [0, 1]."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high
