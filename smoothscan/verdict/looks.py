"""What each trigger space shows of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothscan.verdict.budget import HALF, Floats, Standing, half_budgets, lower_bounds, standing
from smoothscan.verdict.evidence import Curves
from smoothscan.verdict.null import p_values
from smoothscan.verdict.obstacles import control_rates, rates_at_control
from smoothscan.vocabulary import SpaceName

SCALES: dict[SpaceName, float] = {
    "l2": 1.0,
    "patch": 1.0,
    "frequency": 5.0,
    "smooth": 1.0,
    "warp": 1.0,
    "tone": 0.75,
}
"""What R of a space is multiplied by, so that one threshold serves all. Where a class has to move nearly all images to
count, budgets lie close together; see docs/detection.md for how it was chosen."""


@dataclass(frozen=True, eq=False)
class Look:
    """One space, at the noise level where a class stands out most."""

    position: int
    """Position of that search in the evidence."""
    curves: Curves
    """Its counts, all folds together."""
    stands: Standing
    """How the classes stand to each other."""
    anomaly: Floats
    """R of each class, cross-fitted over noise levels and scaled, [E]."""
    p_values: Floats | None
    """Chance of so anomalous a class in any of the spaces that were looked at, [E]; None with too few classes."""

    @property
    def e50(self) -> Floats:
        """Budget at which each class transfers, or infinity, [E]."""
        return half_budgets(self.curves)

    @property
    def bounds(self) -> Floats:
        """The same, or the largest budget that it is known to be above, [E]."""
        return lower_bounds(self.curves)


def looks(searches: Sequence[Curves], n_classes: int) -> list[Look]:
    """Return what each space shows, in the order of the searches.

    Args:
        searches: counts in each space, at each noise level.
        n_classes: number of classes K.
    """
    names = dict.fromkeys(curves.space for curves in searches)
    return [
        _look([(i, curves) for i, curves in enumerate(searches) if curves.space == name], n_classes, len(names))
        for name in names
    ]


def _look(searches: Sequence[tuple[int, Curves]], n_classes: int, n_spaces: int) -> Look:
    level, anomaly = _cross_fitted([curves for _, curves in searches])
    position, curves = searches[level][0], searches[level][1].pooled
    anomaly = np.where(_explained_by_norm(curves), np.minimum(anomaly, 0), anomaly)
    scale = SCALES[curves.space]
    chances = p_values(scale * np.log(lower_bounds(curves)), scale * anomaly, curves.sampled, n_classes)
    if chances is not None:
        chances = 1 - (1 - chances) ** n_spaces  # of independent spaces; dependent ones are less likely to mislead
    return Look(position, curves, standing(curves), scale * anomaly, chances)


def _cross_fitted(searches: Sequence[Curves]) -> tuple[int, Floats]:
    """Choose the noise level with the largest anomaly, and return it with the anomalies of all classes, [E].

    To choose and to measure on the same images would favour luck: each fold is measured at the level that the other
    folds chose, and the folds are averaged.
    """
    level = int(np.argmax([standing(curves.pooled).anomaly.max() for curves in searches]))
    if len(searches) == 1:
        return level, standing(searches[0].pooled).anomaly
    measured = []
    for f in range(len(searches[0].hits)):
        chosen = int(np.argmax([standing(curves.others(f)).anomaly.max() for curves in searches]))
        measured.append(standing(searches[chosen].fold(f)).anomaly)
    return level, np.mean(measured, axis=0)


def _explained_by_norm(curves: Curves) -> NDArray[np.bool_]:
    """Tell where a shuffled copy of the perturbation moves half as many images as itself: then its size does it.

    That is a question to additive perturbations: in other spaces a copy may be as much of a trigger, like a patch of
    one colour.
    """
    rate = rates_at_control(curves)
    explained: NDArray[np.bool_] = (rate >= HALF) & (control_rates(curves) >= HALF * rate)
    return explained & (curves.space == "l2")
