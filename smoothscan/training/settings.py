"""What a training is asked for, and the recipe that it follows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smoothscan._version import __version__

BATCH = 64
"""Images of one step."""
WIDTHS = (16, 32, 64)
"""Channels at full, half and quarter size. Small: a scan runs the network for every noisy image."""
MULTIPLE = 2 ** (len(WIDTHS) - 1)
"""Height and width have to be multiples of this."""
SIGMAS = (0.01, 0.6)
"""Noise levels that are trained, in [0, 1] pixel units; scans use 0.06 to 0.5."""
LEARNING_RATE, WEIGHT_DECAY, WARM_UP, LONGEST_GRADIENT = 1e-3, 0.01, 100, 1.0
"""Largest learning rate, decay of the weights, steps until that rate, and norm to which gradients are cut."""
SHIFT = 1 / 8
"""Images are shifted by up to this share of their sides."""

STEP, HELD_OUT, MEASURE = range(3)
"""What random numbers are for; the purposes never share any."""


@dataclass(frozen=True)
class Settings:
    """What decides the weights that come out, but for the rounding of the machine."""

    height: int
    """Height of the images in pixels."""
    width: int
    """Width of the images in pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    steps: int
    """Steps of the optimiser."""
    seed: int
    """Seed of all randomness, at least 0."""
    files: str
    """Digest of the image files' names, sizes and times of change."""
    version: str = __version__
    """Version of this program, whose recipes may differ."""

    @property
    def shape(self) -> str:
        """Height, width and colour in words, as in `32x32 RGB`."""
        return f"{self.height}x{self.width} {'grey' if self.channels == 1 else 'RGB'}"

    def differences(self, others: dict[str, Any]) -> str:
        """Return in words which settings another training does not share; empty if it shares all."""
        mine = asdict(self)
        told = [f"{name} {mine[name]}" for name in mine if name != "files" and others.get(name) != mine[name]]
        return ", ".join(told + ["other image files"] * (others.get("files") != self.files))

    def draw(self, purpose: int, number: int = 0) -> np.random.Generator:
        """Return random numbers that depend on the seed and on these two alone, so that a training can be resumed."""
        return np.random.default_rng((self.seed, purpose, number))
