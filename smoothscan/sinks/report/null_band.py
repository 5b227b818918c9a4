"""What this model's ordinary classes do at every budget: the ground that a suspect class is seen against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smoothscan.result import ClassResult, CurvePoint

MIN_CLASSES = 3
"""Classes that make a range; fewer are just lines."""


@dataclass(frozen=True)
class Level:
    """The ordinary classes at one budget: shares of the images that they move, in [0, 1]."""

    epsilon: float
    lowest: float
    lower: float
    """A quarter of the classes lies below."""
    median: float
    upper: float
    """A quarter of the classes lies above."""
    highest: float
    tried: int
    """Classes that were tried at this very budget."""


@dataclass(frozen=True)
class NullBand:
    """The ordinary classes of a model."""

    n_classes: int
    levels: tuple[Level, ...]
    """Ascending in the budget."""

    def at(self, epsilon: float) -> Level | None:
        """Return what is known at a budget; None where most of the classes have no value there."""
        return next((level for level in self.levels if level.epsilon == epsilon), None)


def curve(c: ClassResult) -> tuple[CurvePoint, ...]:
    """Return a class's transfer against the budget, ascending, at the noise level behind its transfer rate."""
    points = [p for p in c.curve if p.sigma == c.sigma and p.epsilon > 0]
    return tuple(sorted(points, key=lambda p: p.epsilon))


def null_band(classes: Sequence[ClassResult], out: Sequence[ClassResult] = ()) -> NullBand | None:
    """Return the range of ordinary classes.

    The search goes downwards and leaves a class where it no longer transfers, so smaller budgets are tried with few
    ordinary classes. There a class counts with what it moved at the next larger budget: more than it would, so that the
    band is too high rather than too low. Where most classes were not tried at a larger budget either, it ends.

    Args:
        classes: the ordinary ones.
        out: the others, flagged or brought out, which may have been tried at smaller budgets.

    Returns:
        The band, or None where there are too few classes or budgets.
    """
    curves = [points for c in classes if (points := curve(c))]
    if len(curves) < MIN_CLASSES:
        return None
    levels = []
    for epsilon in sorted({p.epsilon for c in (*classes, *out) for p in curve(c)}):
        values = [v for points in curves if (v := _at_most(points, epsilon)) is not None]
        if 2 * len(values) < len(curves):
            break
        lowest, lower, median, upper, highest = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
        tried = sum(any(p.epsilon == epsilon for p in points) for points in curves)
        levels.append(Level(epsilon, lowest, lower, median, upper, highest, tried))
    return NullBand(len(curves), tuple(levels))


def _at_most(points: Sequence[CurvePoint], epsilon: float) -> float | None:
    """Return what a class moves at a budget, or at the next larger one that was tried; None without one."""
    return next((p.transfer_rate for p in points if p.epsilon >= epsilon), None)
