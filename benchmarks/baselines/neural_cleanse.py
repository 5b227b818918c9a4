"""Neural Cleanse: which class can be reached with an unusually small mask?

Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
Networks, IEEE S&P 2019. Section IV: the stamped image (equation 2), the objective (equation 3), the outlier test.
Constants that the paper leaves open are those of the authors' published code (github.com/bolunwang/backdoor).

What differs is the effort. The published code takes 1,000 steps of 31 mini-batches for each class, about a million
passes, and stops early where the mask no longer shrinks. Here a step is a single mini-batch, and their number is fixed:
200 steps are 6,400 passes for each class. The success rate that steers lambda is taken over the newest mini-batches,
as many as hold all images once; there it is over the 31 of a step.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from baselines.interface import Answer
from smoothscan.classifier.interface import Classifier

BATCH = 32
"""Images of a mini-batch."""
LEARNING_RATE = 0.1
"""Adam's step size."""
BETAS = (0.5, 0.9)
"""Adam's decay rates."""
SUCCESS = 0.99
"""Attack success rate that the trigger has to keep."""
INITIAL_LAMBDA = 1e-3
"""Weight of the mask's norm once the attack succeeds for the first time; zero before."""
FACTOR = 2.0
"""By how much lambda grows; it shrinks by FACTOR ** 1.5."""
PATIENCE = 5
"""Steps in a row, all successful or none, after which lambda changes."""
THRESHOLD = 2.0
"""Anomaly index above which a class is held to be a target."""
NORMAL_CONSISTENCY = 1.4826
"""Makes the median absolute deviation estimate a normal distribution's standard deviation."""


@dataclass(frozen=True)
class NeuralCleanse:
    """The detector. The score is the anomaly index of the smallest mask."""

    steps: int = 200
    """Mini-batches for each class."""

    @property
    def name(self) -> str:
        """The method and its effort."""
        return f"neural-cleanse-{self.steps}x{BATCH}"

    def scan(self, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
        """Examine one model; see `Baseline.scan`. All images take part, those of the class in question as well."""
        before = classifier.meter.passes
        norms = mask_norms(classifier, images, self.steps, torch.Generator().manual_seed(seed))
        index = anomaly_indices(norms)
        targets = tuple(int(t) for t in np.argsort(-index, kind="stable") if index[t] > THRESHOLD)
        return Answer(float(index.max()), targets, classifier.meter.passes - before, bool(targets))


def anomaly_indices(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how many deviations each mask is smaller than the median, [K]; the paper looks at small masks only.

    Args:
        norms: L1 norms of the masks, [K].
    """
    median = np.median(norms)
    deviation = NORMAL_CONSISTENCY * np.median(np.abs(norms - median))
    index: NDArray[np.float64] = (median - norms) / max(deviation, np.finfo(np.float64).tiny)
    return index


def mask_norms(classifier: Classifier, images: Tensor, steps: int, generator: torch.Generator) -> NDArray[np.float64]:
    """Return the L1 norm of the smallest mask that leads all images to each class, [K].

    A class that never came to the demanded success rate has its last mask's.

    Args:
        classifier: the model.
        images: [N, C, H, W] in [0, 1].
        steps: mini-batches for each class; the classes share them.
        generator: source of the start and of the order of images.
    """
    k, (channels, height, width) = classifier.n_classes, classifier.input_shape
    mask_tanh = _to_tanh(torch.rand(k, 1, height, width, generator=generator)).requires_grad_()
    pattern_tanh = _to_tanh(torch.rand(k, channels, height, width, generator=generator)).requires_grad_()
    # Adam works value by value, so that one for all classes does what one for each would do
    optimiser = torch.optim.Adam([pattern_tanh, mask_tanh], lr=LEARNING_RATE, betas=BETAS)
    schedule = _Lambda(k)
    newest: deque[Tensor] = deque(maxlen=math.ceil(len(images) / BATCH))
    smallest = torch.full((k,), math.inf)
    epochs = math.ceil(steps * BATCH / len(images))
    order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(epochs)])
    for batch in order[: steps * BATCH].split(BATCH):
        optimiser.zero_grad()
        hits, norms = torch.empty(k), torch.empty(k)
        for group in torch.arange(k).split(max(classifier.batch_size // BATCH, 1)):
            mask, pattern = _from_tanh(mask_tanh[group]), _from_tanh(pattern_tanh[group])
            stamped = (1 - mask[:, None]) * images[batch] + mask[:, None] * pattern[:, None]  # equation 2
            logits = classifier(stamped.flatten(0, 1))
            wanted = group.repeat_interleave(len(batch))
            cross_entropy = F.cross_entropy(logits, wanted, reduction="none").view(len(group), -1).mean(1)
            norm = mask.sum((1, 2, 3))
            (cross_entropy + schedule.value[group] * norm).sum().backward()  # equation 3
            hits[group] = (logits.argmax(1) == wanted).float().view(len(group), -1).mean(1)
            norms[group] = norm.detach()
        newest.append(hits)
        succeeds = torch.stack(list(newest)).mean(0) >= SUCCESS
        smallest = torch.where(succeeds & (norms < smallest), norms, smallest)
        schedule.update(succeeds)
        optimiser.step()
    last = _from_tanh(mask_tanh.detach()).sum((1, 2, 3))
    return torch.where(smallest.isfinite(), smallest, last).double().numpy()


class _Lambda:
    """The weight of the mask's norm, one for each class, steered so that the attack goes on succeeding."""

    def __init__(self, n_classes: int) -> None:
        self.value = torch.zeros(n_classes)
        self._streak = torch.zeros(n_classes, dtype=torch.long)  # successes in a row; failures count below zero

    def update(self, succeeds: Tensor) -> None:
        """Take note of whether each class's attack succeeded at this step, [K] bool."""
        self._streak = torch.where(succeeds, self._streak.clamp_min(0) + 1, self._streak.clamp_max(0) - 1)
        grows, shrinks = self._streak >= PATIENCE, self._streak <= -PATIENCE
        grown = torch.where(self.value == 0, INITIAL_LAMBDA, self.value * FACTOR)
        shrunk = torch.where(shrinks, self.value / FACTOR**1.5, self.value)
        self.value = torch.where(grows, grown, shrunk)
        self._streak[grows | shrinks] = 0


def _from_tanh(values: Tensor) -> Tensor:
    """Return values in [0, 1] for any real ones."""
    return values.tanh() / 2 + 0.5


def _to_tanh(values: Tensor) -> Tensor:
    """Undo `_from_tanh`, for values in [0, 1)."""
    return torch.atanh((2 * values - 1) * (1 - 1e-6))
