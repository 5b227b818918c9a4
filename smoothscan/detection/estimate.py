"""What a scan of a classifier would cost: passes from the schedule, seconds from a few steps that are tried."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import PAIR_HELD_OUT, PAIR_SYNTHESIS, ScanConfig
from smoothscan.detection import pairs
from smoothscan.detection.inversion import Inverter
from smoothscan.detection.preparation import Prepared, prepare
from smoothscan.detection.schedule import expected_passes
from smoothscan.detection.screening import FINALISTS, SAMPLED
from smoothscan.smoothing.smoothed import standardised

_SIGMA = 0.1
"""Noise level of the steps that are tried; how long they take does not depend on it."""


@dataclass(frozen=True)
class Plan:
    """What a scan would search, and with how many passes."""

    classifier: Classifier
    """The base classifier."""
    config: ScanConfig
    """What to scan, and how."""
    prepared: Prepared
    """Trigger spaces, noise and images."""
    in_full: int
    """Classes of which each would be searched in full in one space."""
    passes: Mapping[str, float]
    """Model passes of each search."""

    def seconds_per_pass(self, steps: int) -> float:
        """Return what a pass takes, with all that the scanner does around it; the fastest of some gradient steps.

        Args:
            steps: steps that are timed, after one that is not.
        """
        profile = self.config.search().model_copy(update={"steps": 1})
        noise, space, subjects = self.prepared.noise, self.prepared.spaces[0], self.prepared.subjects
        sigma = _SIGMA if self.config.sigma is None else self.config.sigma
        smoothed = standardised(self.classifier, sigma, subjects.images, noise)
        inverter = Inverter((smoothed,), space, profile, noise, lambda _passes: None)
        group = min(max(self.classifier.batch_size // profile.n_noise, 1), self.classifier.n_classes)
        images = torch.stack([subjects.images[subjects.sources(t)] for t in range(group)])
        epsilon, start = space.ladder(profile, self.classifier.input_shape).epsilons[-1], None
        taken = []
        for step in range(1 + steps):
            began = time.perf_counter()
            found = inverter.invert(images, torch.arange(group), start, epsilon=epsilon, first_step=step)
            start = found.parameters
            taken.append(time.perf_counter() - began)
        return min(taken[1:]) / (group * profile.n_noise)


def plan(classifier: Classifier, pixels: Tensor, config: ScanConfig) -> Plan:
    """Return what a scan would search.

    Args:
        classifier: the base classifier.
        pixels: clean images, [N, C, H, W] in [0, 1].
        config: profile, spaces, pairs, seed and number of synthesis images.

    Raises:
        SmoothscanError: see `prepare`.
    """
    profile, k = config.search(), classifier.n_classes
    prepared = prepare(classifier, pixels, config)
    subjects = prepared.subjects
    levels = len(profile.sigmas or (None,))
    passes: dict[str, float] = {
        space.name: levels * expected_passes(space, profile, classifier.input_shape, k, subjects)
        for space in prepared.spaces
    }
    if config.pairs:
        passes["pairs"] = _of_pairs(subjects.clean, k, profile.n_noise)
    return Plan(classifier, config, prepared, SAMPLED + FINALISTS if prepared.screened else k, passes)


def _of_pairs(clean: Tensor, n_classes: int, n_noise: int) -> float:
    """Return the passes of the search over pairs at its largest budget, which few pairs get beyond."""
    members = torch.bincount(clean, minlength=n_classes)
    enough = members[members >= PAIR_SYNTHESIS + PAIR_HELD_OUT]
    tests = float((enough - PAIR_SYNTHESIS).sum()) / 3
    return (n_classes - 1) * (len(enough) * pairs.STEPS * n_noise + tests)
