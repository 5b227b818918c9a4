"""How the predictions move under plain noise: forward passes only, asked before anything is searched."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.errors import TooFewImagesError
from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise
from smoothscan.verdict.evidence import NoiseCounts

SIGMAS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12)
"""Noise levels of the probe, in [0, 1] pixel units."""
STABLE_SIGMA = 0.01
"""Noise level under which a synthesis image has to keep its class."""
STABLE_DRAWS = 4
"""Noise vectors that it has to stand."""
MIN_HELD_OUT = 20
"""Fewest held-out images for a transfer rate that means something (its 95 % interval spans 45 points)."""
MIN_SOURCES = 10
"""Fewest held-out images outside a class for that class to be examined."""


def check_enough(clean: Tensor, n_classes: int) -> None:
    """Raise TooFewImagesError if the images cannot support a statistic for every class.

    Args:
        clean: predictions of the images, [N].
        n_classes: number of classes K.
    """
    if len(clean) < MIN_HELD_OUT + 2:
        raise TooFewImagesError(
            f"{len(clean)} usable images are too few: two are needed for synthesis and {MIN_HELD_OUT} to test on.",
            f"Add clean images to the folder; {MIN_HELD_OUT + 2} are enough, 100 make the intervals narrow.",
        )
    members = torch.bincount(clean, minlength=n_classes)
    crowded = int(members.argmax())
    if len(clean) - int(members[crowded]) < MIN_SOURCES + 2:
        raise TooFewImagesError(
            f"The model gives {int(members[crowded])} of {len(clean)} images to class {crowded}, "
            "too many to examine that class.",
            "Add images of other classes; if there are some, check the input specification (value range, mean, std).",
        )


def probe(classifier: Classifier, images: Tensor, clean: Tensor, noise: KeyedNoise) -> NoiseCounts:
    """Count where predictions move at each noise level.

    Args:
        classifier: the base classifier.
        images: [N, C, H, W] in [0, 1].
        clean: predictions of the images, [N].
        noise: source of z; every level sees the same vectors.
    """
    z = noise.vectors(PROBE_STREAM, 0, len(images))
    moved = np.zeros((len(SIGMAS), classifier.n_classes), dtype=np.int64)
    kept = np.zeros(len(SIGMAS))
    for level, sigma in enumerate(SIGMAS):
        noisy = classifier.predict(images + sigma * z)
        moved[level] = torch.bincount(noisy[noisy != clean], minlength=classifier.n_classes).numpy()
        kept[level] = float((noisy == clean).float().mean())
    members = torch.bincount(clean, minlength=classifier.n_classes).numpy()
    return NoiseCounts(np.array(SIGMAS), moved, len(images) - members, kept)


def synthesis_images(classifier: Classifier, images: Tensor, clean: Tensor, noise: KeyedNoise) -> tuple[int, int]:
    """Return the positions of two images of different predicted classes, from which all perturbations start.

    The first is the first image that the model classifies stably under small noise; the second is the next stable one
    of another class, because a class cannot be inverted from an image that the model already gives to it.

    Args:
        classifier: the base classifier.
        images: [N, C, H, W] in [0, 1].
        clean: predictions of the images, [N].
        noise: source of the small noise.
    """
    stable = torch.ones(len(images), dtype=torch.bool)
    for draw in range(1, STABLE_DRAWS + 1):
        z = noise.vectors(PROBE_STREAM, draw, len(images))
        stable &= classifier.predict(images + STABLE_SIGMA * z) == clean
    ranked = [*torch.nonzero(stable).flatten().tolist(), *torch.nonzero(~stable).flatten().tolist()]
    first = ranked[0]
    second = next(i for i in ranked if clean[i] != clean[first])
    return first, second
