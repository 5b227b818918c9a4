"""The transfer test: does a perturbation made from one image move others too?"""

from __future__ import annotations

import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.smoothing.noise import KeyedNoise


def apply(images: Tensor, delta: Tensor) -> Tensor:
    """Return the images [N, C, H, W] in [0, 1] with the perturbation delta [C, H, W]."""
    return (images + delta).clamp(0, 1)


def transfer(classifier: Classifier, images: Tensor, clean: Tensor, delta: Tensor, target: int) -> Tensor:
    """Return which images the perturbation moves to the target class, [N] bool.

    Images that the model gives to the target already are not moved; they count neither as hits nor as tries.

    Args:
        classifier: the base classifier; nothing is smoothed here.
        images: held-out images, [N, C, H, W] in [0, 1].
        clean: their predictions, [N].
        delta: perturbation, [C, H, W].
        target: class t.
    """
    moved = torch.zeros(len(images), dtype=torch.bool)
    sources = torch.nonzero(clean != target).flatten()
    if len(sources):
        moved[sources] = classifier.predict(apply(images[sources], delta)) == target
    return moved


def shuffled(delta: Tensor, noise: KeyedNoise, target: int) -> Tensor:
    """Return delta [C, H, W] with its values in random places: the same norm and histogram, no pattern.

    Args:
        delta: perturbation, [C, H, W].
        noise: source of the order.
        target: class t, the key of the order.
    """
    order = torch.from_numpy(noise.permutation(target, delta.numel()))
    return delta.flatten()[order].view_as(delta)
