"""What the network sees at one step: images, slightly varied, with noise of the levels that scans use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smoothscan.smoothing.steps import closest_steps
from smoothscan.training.images import TrainingImages
from smoothscan.training.settings import BATCH, SHIFT, SIGMAS, STEP, Settings


@dataclass(frozen=True)
class Batch:
    """The question of one step, and its answer."""

    noisy: Tensor
    """x_t = sqrt(abar_t) x + sqrt(1 - abar_t) z, [B, C, H, W]."""
    steps: Tensor
    """t of each image, [B]."""
    noise: Tensor
    """z, which the network has to predict, [B, C, H, W]."""


def draw_batch(images: TrainingImages, settings: Settings, number: int, alphas_cumprod: Tensor) -> Batch:
    """Return the batch of one step; it depends on the settings and the number of the step alone.

    Args:
        images: where it is drawn from, with replacement.
        settings: seed and size.
        number: number of the step, from 0.
        alphas_cumprod: abar_t of each step of the diffusion, [T].
    """
    drawn = settings.draw(STEP, number)
    rows = images.training[drawn.integers(len(images.training), size=BATCH)]
    clean = torch.from_numpy(np.stack([_varied(images.pixels[row], drawn) for row in rows])).float() / 127.5 - 1
    low, high = map(math.log, SIGMAS)
    t = closest_steps(alphas_cumprod, torch.from_numpy(np.exp(drawn.uniform(low, high, BATCH))))
    noise = torch.from_numpy(drawn.standard_normal(clean.shape, dtype=np.float32))
    abar = alphas_cumprod[t].float()[:, None, None, None]
    return Batch(abar.sqrt() * clean + (1 - abar).sqrt() * noise, t, noise)


def _varied(image: NDArray[np.uint8], drawn: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image [C, H, W] shifted by some pixels, its edges mirrored, and flipped left to right or not."""
    _, height, width = image.shape
    flip, down, right = drawn.random(3)
    rows, columns = (_shifted(side, share) for side, share in ((height, down), (width, right)))
    return image[:, rows[:, None], columns[:: -1 if flip < 0.5 else 1]]


def _shifted(side: int, share: float) -> NDArray[np.int64]:
    """Return which of `side` pixels comes to each place when they are shifted by a share of the way that is allowed."""
    most = int(side * SHIFT)
    places = np.abs(np.arange(side) + round((2 * share - 1) * most))
    return np.where(places < side, places, 2 * (side - 1) - places)
