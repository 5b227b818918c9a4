"""What the network sees at one step."""

from __future__ import annotations

import numpy as np
import torch

from smoothscan.smoothing.steps import noise_ratios
from smoothscan.training.batches import Batch, draw_batch
from smoothscan.training.images import TrainingImages
from smoothscan.training.network import make_scheduler
from smoothscan.training.settings import SIGMAS, Settings

ABAR = make_scheduler().alphas_cumprod.double()
SETTINGS = Settings(8, 16, 1, 100, 0, "x")


def one_image() -> TrainingImages:
    """An image of which every pixel has its own value, and one that is held out."""
    pixels = np.stack([np.arange(128, dtype=np.uint8).reshape(1, 8, 16), np.full((1, 8, 16), 255, np.uint8)])
    return TrainingImages(pixels, "", np.array([0]), np.array([1]))


def clean(batch: Batch) -> np.ndarray:
    """The images without the noise, in 0 to 255."""
    abar = ABAR[batch.steps].float()[:, None, None, None]
    found = (batch.noisy - (1 - abar).sqrt() * batch.noise) / abar.sqrt()
    return ((found + 1) * 127.5).round().numpy()[:, 0]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, again, other = (draw_batch(one_image(), SETTINGS, number, ABAR) for number in (3, 3, 4))
    assert all(torch.equal(*pair) for pair in zip(vars(first).values(), vars(again).values(), strict=True))
    assert not torch.equal(first.noise, other.noise)
    reseeded = draw_batch(one_image(), Settings(8, 16, 1, 100, 1, "x"), 3, ABAR)
    assert not torch.equal(first.noise, reseeded.noise)


def test_noise_levels_are_those_of_scans() -> None:
    steps = torch.cat([draw_batch(one_image(), SETTINGS, number, ABAR).steps for number in range(50)])
    sigmas = noise_ratios(ABAR)[steps] / 2
    low, high = SIGMAS
    assert low * 0.9 < sigmas.min() < low * 1.1
    assert high * 0.9 < sigmas.max() < high * 1.1
    middle = (low * high) ** 0.5
    assert 0.47 < (sigmas < middle).double().mean() < 0.53, "as many below the geometric mean as above"


def test_images_are_shifted_with_mirrored_edges_and_flipped() -> None:
    image = one_image().pixels[0, 0].astype(float)
    padded = np.pad(image, ((1, 1), (2, 2)), mode="reflect")
    allowed = [padded[1 + y : 9 + y, 2 + x : 18 + x] for y in (-1, 0, 1) for x in (-2, -1, 0, 1, 2)]
    allowed += [view[:, ::-1] for view in allowed]
    seen = set()
    for found in (one for number in range(10) for one in clean(draw_batch(one_image(), SETTINGS, number, ABAR))):
        (which,) = [index for index, view in enumerate(allowed) if np.array_equal(view, found)]
        seen.add(which)
    assert seen == set(range(len(allowed)))
