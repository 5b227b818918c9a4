"""What the detection hands to the verdict: raw counts, no judgement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smoothscan.vocabulary import SpaceName


@dataclass(frozen=True)
class Round:
    """What one round of a screening gave."""

    title: str
    """What was done."""
    scores: NDArray[np.float64]
    """Mean logarithm of the probability of each class on images that the trigger was not made from, [K]; NaN where a
    class took no part."""
    kept: tuple[int, ...]
    """Classes that went on, best first."""


@dataclass(frozen=True)
class Curves:
    """How classes transfer along the budgets of one space, at one noise level.

    Of a model with many classes only E are searched in full; everything is counted in their order.
    """

    space: SpaceName
    """What a trigger may be there."""
    level: float
    """Share of the held-out images at which a class counts as transferring, in (0, 1)."""
    sigma: float
    """Noise level of the smoothed classifier, in [0, 1] pixel units."""
    epsilons: NDArray[np.float64]
    """Budgets at the model's input size in the unit of the space, ascending, [B]."""
    classes: NDArray[np.int64]
    """Classes that were searched in full, ascending, [E]."""
    sampled: NDArray[np.bool_]
    """Which of them stand for the model's ordinary classes: those drawn at random, or all, [E]."""
    hits: NDArray[np.int64]
    """Held-out images that move to the class, by fold, [F, E, B]; -1 where a budget was not tried because others had
    settled on which side of it the class's e50 lies."""
    n_images: NDArray[np.int64]
    """Held-out images that are not in the class when clean, by fold, [F, E]."""
    control: NDArray[np.int64]
    """Held-out images that a shuffled copy of the class's trigger moves to the class, [E]: the matched control."""
    control_at: NDArray[np.int64]
    """Position of the budget of that trigger: the smallest that transfers, else the largest tried, [E]."""
    silent: NDArray[np.float64]
    """Share of the class's gradient steps in which the gradient was exactly zero, in [0, 1], [E]."""
    reached: NDArray[np.float64]
    """Largest g of the class, at any budget, on the images that its trigger was made from, in [0, 1], [E]."""
    rounds: tuple[Round, ...] = ()
    """The screening that chose the classes; none if all were searched."""
    denoised: bool = False
    """Whether the search went through a denoiser."""

    @property
    def pooled(self) -> Curves:
        """The same with all folds counted together, F = 1."""
        return self._of(slice(None))

    def fold(self, f: int) -> Curves:
        """Return the counts of one fold, F = 1."""
        return self._of([f])

    def others(self, f: int) -> Curves:
        """Return the counts of all folds but one together, F = 1."""
        return self._of([i for i in range(len(self.hits)) if i != f])

    @property
    def rates(self) -> NDArray[np.float64]:
        """Transfer rates over all folds, in [0, 1]; -1 where a budget was not tried, [E, B]."""
        n = np.maximum(self.n_images.sum(0), 1)[:, None]
        return np.where(self.hits[0] < 0, -1.0, self.hits.sum(0) / n)

    def _of(self, folds: slice | list[int]) -> Curves:
        hits = np.where(self.hits[0] < 0, -1, self.hits[folds].sum(0))
        return replace(self, hits=hits[None], n_images=self.n_images[folds].sum(0)[None])


@dataclass(frozen=True)
class NoiseCounts:
    """How predictions move under plain noise."""

    sigmas: NDArray[np.float64]
    """Noise levels in [0, 1] pixel units, ascending, [S]."""
    moved: NDArray[np.int64]
    """Noisy images, not in the class when clean, that are in it under noise, [S, K]."""
    n_images: NDArray[np.int64]
    """Noisy images that are not in the class when clean, [K]."""
    kept: NDArray[np.float64]
    """Share of noisy images that keep their clean prediction, in [0, 1], [S]."""
    withheld: NDArray[np.float64]
    """Share of noisy images for which the model's two largest answers are equal, in [0, 1], [S]: it says nothing."""


@dataclass(frozen=True)
class PairCounts:
    """How images of one class transfer to each other class, with a small patch made for the pair."""

    sources: NDArray[np.int64]
    """Source classes that there were enough images of, [A]."""
    epsilons: NDArray[np.float64]
    """Replaced pixels, ascending, [E]."""
    hits: NDArray[np.int64]
    """Held-out images of the source that move to the target, [A, K, E]; -1 where none was searched: from a class to
    itself, and with a smaller patch where the next larger one moves too few."""
    n_images: NDArray[np.int64]
    """Held-out images of each source, [A]."""
    n_synthesis: int
    """Images of each source that triggers were made from."""
    sigma: float
    """Noise level of the smoothed classifier, in [0, 1] pixel units."""


@dataclass(frozen=True)
class Evidence:
    """Everything that one scan counted."""

    searches: tuple[Curves, ...]
    """Counts in each space, and at each noise level, that was searched."""
    noise: NoiseCounts
    """The noise probe."""
    pairs: PairCounts | None = None
    """Counts for pairs of source and target class, if they were searched."""
    unfinished: tuple[str, ...] = ()
    """Searches that the time budget cut off or left out: names of trigger spaces, and `pairs`."""
