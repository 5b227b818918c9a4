"""How the predictions move under plain noise: forward passes only, asked before anything is searched."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.errors import TooFewImagesError
from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise
from smoothscan.verdict.budget import crossing
from smoothscan.verdict.decision import SUSPICIOUS, noise_anomalies, noise_levels
from smoothscan.verdict.evidence import NoiseCounts

SIGMAS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.17, 0.25, 0.35, 0.5)
"""Noise levels of the probe, in [0, 1] pixel units."""
SIGMA_RATIO = 1.3
"""Noise level of the search, as a multiple of the level at which half of the predictions change; docs/detection.md."""
STABLE_SIGMA = 0.01
"""Noise level under which a synthesis image has to keep its class."""
STABLE_DRAWS = 4
"""Noise vectors that it has to stand."""
MIN_HELD_OUT = 20
"""Fewest held-out images for a transfer rate that means something (its 95 % interval spans 45 points)."""
MIN_SOURCES = 10
"""Fewest held-out images outside a class for that class to be examined."""


def check_enough(clean: Tensor, n_classes: int, n_synthesis: int, n_screening: int = 0) -> None:
    """Raise TooFewImagesError if the images cannot support a statistic for every class.

    Args:
        clean: predictions of the images, [N].
        n_classes: number of classes K.
        n_synthesis: synthesis images of each class.
        n_screening: images that a screening of many classes needs at least; 0 for few.
    """
    needed = MIN_HELD_OUT + 2 * n_synthesis + n_screening
    if len(clean) < needed:
        screening = f", {n_screening} to choose among {n_classes} classes" if n_screening else ""
        raise TooFewImagesError(
            f"{len(clean)} usable images are too few: up to {2 * n_synthesis} are needed for synthesis{screening} and "
            f"{MIN_HELD_OUT} to test on.",
            f"Pass more clean images; {needed} are enough, 100 make the intervals narrow.",
        )
    members = torch.bincount(clean, minlength=n_classes)
    crowded = int(members.argmax())
    if len(clean) - int(members[crowded]) < MIN_SOURCES + 2 * n_synthesis + n_screening:
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
    kept, withheld = np.zeros(len(SIGMAS)), np.zeros(len(SIGMAS))
    for level, sigma in enumerate(SIGMAS):
        with torch.no_grad():
            largest = classifier(images + sigma * z).topk(2, dim=1)
        noisy, answered = largest.indices[:, 0], largest.values[:, 0] > largest.values[:, 1]
        left = answered & (noisy != clean)
        moved[level] = torch.bincount(noisy[left], minlength=classifier.n_classes).numpy()
        kept[level] = float((answered & (noisy == clean)).float().mean())
        withheld[level] = float((~answered).float().mean())
    members = torch.bincount(clean, minlength=classifier.n_classes).numpy()
    return NoiseCounts(np.array(SIGMAS), moved, len(images) - members, kept, withheld)


def fired(counts: NoiseCounts) -> list[int]:
    """Return the classes that plain noise leads to."""
    return [int(t) for t in np.flatnonzero(noise_anomalies(counts) >= SUSPICIOUS)]


def noise_level(counts: NoiseCounts) -> float:
    """Return the noise level at which to search this model, in [0, 1] pixel units.

    It is a fixed multiple of the level at which half of the predictions change: enough that no single image decides
    what a perturbation looks like, not so much that the smoothed classifier no longer sees a trigger. Where noise fires
    a trigger, g is saturated and flat from there on, so the search stays at half of that level.

    Args:
        counts: the noise probe.
    """
    firing = fired(counts)
    if firing:
        return float(noise_levels(counts)[firing].min()) / 2
    return SIGMA_RATIO * min(crossing(counts.sigmas, 1 - counts.kept), float(counts.sigmas[-1]))


def synthesis_images(
    classifier: Classifier, images: Tensor, clean: Tensor, noise: KeyedNoise, count: int
) -> tuple[int, ...]:
    """Return the positions of the images from which all perturbations start.

    They are the first that the model classifies stably under small noise, taken in order until every class has `count`
    among them that the model does not give to it already: from those of its own a class cannot be inverted.

    Args:
        classifier: the base classifier.
        images: [N, C, H, W] in [0, 1].
        clean: predictions of the images, [N].
        noise: source of the small noise.
        count: images for each class.
    """
    stable = torch.ones(len(images), dtype=torch.bool)
    for draw in range(1, STABLE_DRAWS + 1):
        z = noise.vectors(PROBE_STREAM, draw, len(images))
        stable &= classifier.predict(images + STABLE_SIGMA * z) == clean
    ranked = [*torch.nonzero(stable).flatten().tolist(), *torch.nonzero(~stable).flatten().tolist()]
    chosen: list[int] = []
    for i in ranked:
        taken = clean[chosen]
        short = len(chosen) < count or any(
            int((taken != t).sum()) < count for t in set(taken.tolist()) - {int(clean[i])}
        )
        if short:
            chosen.append(i)
    return tuple(chosen)
