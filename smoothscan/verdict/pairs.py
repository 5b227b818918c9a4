"""Source-specific and all-to-all backdoors: pairs of classes between which a small patch is enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from smoothscan.result import PairResult, PairsResult
from smoothscan.verdict.budget import Floats, binomial_interval, crossing, ordinary
from smoothscan.verdict.evidence import PairCounts

LEVEL = 0.6
"""Share of the images of the source class at which a pair counts as transferring."""
CONFIDENCE = 0.95
"""One-sided confidence that a pair's rate is at least what is reckoned with: a source class has few images, and some
pairs of similar classes come close to `LEVEL` in clean models too."""


@dataclass(frozen=True, eq=False)
class PairStanding:
    """How the pairs of source and target class of one model stand to each other."""

    counts: PairCounts
    """The counts."""
    anomaly: Floats
    """R = log(reference / e) of each pair, [A, K]; -infinity where none was searched."""

    @property
    def by_target(self) -> Floats:
        """R of the most anomalous pair of each target class, [K]."""
        largest: Floats = np.max(self.anomaly, axis=0, initial=-np.inf)
        return largest

    def source(self, target: int) -> int:
        """Return the source class of the most anomalous pair of a target class."""
        return int(self.counts.sources[self.anomaly[:, target].argmax()])

    def result(self, threshold: float) -> PairsResult:
        """Return counts and the pairs that are at least so anomalous, most anomalous first."""
        rows, targets = np.nonzero(self.anomaly >= threshold)
        order = np.argsort(-self.anomaly[rows, targets], kind="stable")
        return PairsResult(
            sources=tuple(self.counts.sources.tolist()),
            n_images=tuple(self.counts.n_images.tolist()),
            synthesis_images=self.counts.n_synthesis,
            epsilons=tuple(self.counts.epsilons.tolist()),
            sigma=self.counts.sigma,
            hits=tuple(tuple(tuple(own) for own in row) for row in self.counts.hits.tolist()),
            flagged=tuple(self._pair(int(rows[i]), int(targets[i])) for i in order),
        )

    def _pair(self, row: int, target: int) -> PairResult:
        hits, n = self.counts.hits[row, target], int(self.counts.n_images[row])
        smallest = int(np.flatnonzero(hits >= 0)[0])
        return PairResult(
            source=int(self.counts.sources[row]),
            target=target,
            epsilon=float(self.counts.epsilons[smallest]),
            hits=int(hits[smallest]),
            n_images=n,
            transfer_rate=int(hits[smallest]) / n,
            transfer_ci=binomial_interval(int(hits[smallest]), n),
            anomaly=float(self.anomaly[row, target]),
        )


def standing_of_pairs(counts: PairCounts) -> PairStanding:
    """Compare every pair with this model's ordinary pairs.

    As with classes (`budget.standing`), a pair's budget is compared with those of the pairs above the widest gap; up to
    one pair for each class may lie below it, as many as an all-to-all backdoor has. Pairs of similar classes have large
    rates in clean models, and a source class has few images: rates are taken at their lower confidence bound.
    """
    searched: NDArray[np.bool_] = counts.hits[:, :, -1] >= 0
    bounds = np.array(
        [
            min(crossing(counts.epsilons, rates, level=LEVEL), counts.epsilons[-1])
            for rates in _lower_rates(counts)[searched]
        ]
    )
    anomaly = np.full(searched.shape, -np.inf)
    if len(bounds) > 1:
        _, reference = ordinary(np.log(bounds), most=counts.hits.shape[1])
        anomaly[searched] = reference - np.log(bounds)
    return PairStanding(counts, anomaly)


def _lower_rates(counts: PairCounts) -> Floats:
    """Return lower confidence bounds of the rates (Wilson 1927), [A, K, E]; -1 where none was searched."""
    n = counts.n_images[:, None, None]
    z2 = float(ndtri(CONFIDENCE)) ** 2
    rate = np.maximum(counts.hits, 0) / n
    lower = (rate + z2 / (2 * n) - np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n**2)))) / (1 + z2 / n)
    bounds: Floats = np.where(counts.hits < 0, -1.0, lower.clip(min=0))
    return bounds
