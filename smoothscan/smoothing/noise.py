"""Gaussian noise that depends on what it is for, and on nothing else."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PROBE_STREAM = 2**32
"""Stream of noise that belongs to no class; class t has stream t."""
_NORMAL, _SHIFTS, _ORDER, _PLACES, _UNIFORM = range(5)
"""What a generator is for; the two never share a counter."""


class KeyedNoise:
    """Standard normal vectors keyed by (seed, stream, step, index).

    Counter-based (Philox), so that the noise of a class does not depend on which other classes are scanned, in which
    order, or in how large a batch; and asking for more vectors leaves the first ones as they are.

    Args:
        seed: seed of the scan.
        shape: channels, height and width.
    """

    def __init__(self, seed: int, shape: tuple[int, int, int]) -> None:
        self.seed = seed
        self.shape = shape

    def vectors(self, stream: int, step: int, count: int, *, antithetic: bool = False) -> Tensor:
        """Return z ~ N(0, I), [count, C, H, W].

        Args:
            stream: class, or PROBE_STREAM.
            step: number of the gradient step.
            count: number of vectors.
            antithetic: make every second vector the negative of the one before.
        """
        generator = self._generator(stream, step, _NORMAL)
        if not antithetic:
            return torch.from_numpy(generator.standard_normal((count, *self.shape), dtype=np.float32))
        half = torch.from_numpy(generator.standard_normal(((count + 1) // 2, *self.shape), dtype=np.float32))
        return torch.stack([half, -half], 1).flatten(0, 1)[:count]

    def shifts(self, stream: int, step: int, count: int, most: tuple[int, int]) -> list[tuple[int, int]]:
        """Return vertical and horizontal offsets in pixels, uniform within plus and minus `most`, `count` pairs.

        Args:
            stream: class.
            step: number of the gradient step.
            count: number of pairs.
            most: largest vertical and horizontal offset.
        """
        drawn = self._generator(stream, step, _SHIFTS).random((count, 2))
        return [(round((2 * y - 1) * most[0]), round((2 * x - 1) * most[1])) for y, x in drawn.tolist()]

    def places(self, stream: int, step: int, count: int) -> list[tuple[float, float]]:
        """Return vertical and horizontal places, uniform in [0, 1), `count` pairs.

        Args:
            stream: class.
            step: number of the gradient step.
            count: number of pairs.
        """
        return [(y, x) for y, x in self._generator(stream, step, _PLACES).random((count, 2)).tolist()]

    def permutation(self, stream: int, count: int) -> NDArray[np.int64]:
        """Return the numbers from 0 to count - 1 in random order, [count].

        Args:
            stream: class.
            count: how many.
        """
        return self._generator(stream, 0, _ORDER).permutation(count)

    def uniform(self, stream: int, count: int) -> Tensor:
        """Return values uniform in [0, 1), [count].

        Args:
            stream: class.
            count: how many.
        """
        return torch.from_numpy(self._generator(stream, 0, _UNIFORM).random(count, dtype=np.float32))

    def _generator(self, stream: int, step: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=[0, purpose, step, stream]))
