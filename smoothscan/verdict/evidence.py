"""What the detection hands to the verdict: raw counts, no judgement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curves:
    """How each class transfers along the budgets, at one noise level."""

    sigma: float
    """Noise level of the smoothed classifier, in [0, 1] pixel units."""
    epsilons: NDArray[np.float64]
    """L2 budgets at the model's input size, ascending, [E]."""
    hits: NDArray[np.int64]
    """Held-out images that move to the class, [K, E]; -1 where a budget was not tried because others had settled on
    which side of it the class's e50 lies."""
    n_images: NDArray[np.int64]
    """Held-out images that are not in the class when clean, [K]."""


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


@dataclass(frozen=True)
class Evidence:
    """Everything that one scan counted."""

    selection: tuple[Curves, ...]
    """Counts on the images that choose between noise levels, one entry for each level."""
    test: tuple[Curves, ...]
    """Counts on the images that are reported, in the same order; the same as `selection` when there is one level."""
    noise: NoiseCounts
    """The noise probe."""
