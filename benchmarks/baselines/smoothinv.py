"""SmoothInv as published: does a perturbation made from one image lead others to the class as well?

Sun, Kolter: Single Image Backdoor Inversion via Robust Smoothed Classifiers, CVPR 2023, arXiv 2303.00215. Section 3.2
the smoothed classifier and the inversion, section 4.1 the protocol: 400 steps, 40 noise vectors, sigma in {0.12, 0.25,
0.50}, epsilon in {5, 10} at 3x224x224. Ten classes take 960,000 passes. The inversion is this project's own under
`PROFILES["paper"]`; its logits are standardised and its mean over noise is a logsumexp, without which the search does
not start on confident models. There is no denoiser.

The paper takes the best sigma by attack success rate and compares no classes with each other. So here: the statistic of
a class is its largest transfer rate over all sigma and epsilon, that of a model is its largest class's, and the class
of the largest is the one named. A rate ends at 1, where models tie. The paper states no threshold; half of the images
is that of expected transferability (Xiang, Miller, Kesidis: Post-Training Detection of Backdoor Attacks for Two-Class
and Multi-Attack Scenarios, ICLR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from baselines.interface import Answer
from smoothscan.classifier.interface import Classifier
from smoothscan.config import PROFILES, Profile
from smoothscan.detection.journal import Journal
from smoothscan.detection.probe import synthesis_images
from smoothscan.detection.schedule import search
from smoothscan.detection.subjects import Subjects
from smoothscan.events import Silent
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces import SPACES

THRESHOLD = 0.5
"""Transfer rate from which a model is held to be backdoored."""


@dataclass(frozen=True)
class SmoothInv:
    """The paper's protocol, at its full effort or at a stated part of it."""

    steps: int = 400
    """Gradient steps at each setting."""
    n_noise: int = 40
    """Noise vectors for each gradient."""

    @property
    def name(self) -> str:
        """The method and its effort."""
        return f"smoothinv-{self.steps}x{self.n_noise}"

    def scan(self, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
        """Examine one model; see `Baseline.scan`. Two images are for synthesis, the others are held out."""
        profile = PROFILES["paper"].model_copy(update={"steps": self.steps, "n_noise": self.n_noise})
        return _scan(profile, classifier, images, clean, seed)


@dataclass(frozen=True)
class PlainInversion:
    """The same inversion without smoothing: sigma = 0, where all noise vectors are alike and one does for all."""

    steps: int = 400
    """Gradient steps at each budget."""

    @property
    def name(self) -> str:
        """The method and its effort."""
        return f"smoothinv-sigma0-{self.steps}x1"

    def scan(self, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
        """Examine one model; see `Baseline.scan`. Two images are for synthesis, the others are held out."""
        profile = PROFILES["paper"].model_copy(update={"steps": self.steps, "n_noise": 1, "sigmas": (0.0,)})
        return _scan(profile, classifier, images, clean, seed)


def _scan(profile: Profile, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
    before = classifier.meter.passes
    noise = KeyedNoise(seed, classifier.input_shape)
    subjects = Subjects(images, clean, synthesis_images(classifier, images, clean, noise, 1))
    labels = [str(t) for t in range(classifier.n_classes)]
    space = SPACES["l2"]
    journal = Journal(None, classifier.meter)
    searches = [
        search(classifier, subjects, profile, space, sigma, noise, labels, Silent(), journal)
        for sigma in profile.sigmas or ()
    ]
    rates = np.max([found.curves.rates.max(1) for found in searches], axis=0)
    score = float(rates.max())
    verdict = score >= THRESHOLD
    return Answer(score, (int(rates.argmax()),) if verdict else (), classifier.meter.passes - before, verdict)
