"""Which class gets which budget: a continuation along epsilon that spends most where a verdict hangs on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import REFERENCE_VALUES, Profile
from smoothscan.detection.inversion import invert
from smoothscan.detection.transfer import transfer
from smoothscan.events import Events, Ranked
from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier, logit_scale
from smoothscan.verdict.budget import HALF, half_budgets
from smoothscan.verdict.decision import NOISE_REFERENCE
from smoothscan.verdict.evidence import Curves


@dataclass(frozen=True)
class Subjects:
    """The images of one scan, by their part in it."""

    images: Tensor
    """All usable images, [N, C, H, W] in [0, 1]."""
    clean: Tensor
    """Their predictions, [N]."""
    synthesis: tuple[int, int]
    """Positions of the two images that perturbations start from."""

    @property
    def held_out(self) -> Tensor:
        """Positions of all other images, [N - 2]."""
        return torch.tensor([i for i in range(len(self.images)) if i not in self.synthesis])

    def source(self, target: int) -> int:
        """Return the position of the image that class `target` starts from."""
        first, second = self.synthesis
        return first if int(self.clean[first]) != target else second


@dataclass(frozen=True)
class Search:
    """What one noise level gave."""

    curves: Curves
    """Counts on all held-out images."""
    selection: Curves
    """Counts on every second held-out image."""
    test: Curves
    """Counts on the others."""
    perturbations: dict[tuple[int, int], Tensor]
    """delta by (class, position of the budget), each [C, H, W]."""


def budgets(profile: Profile, shape: tuple[int, int, int]) -> list[float]:
    """Return the profile's L2 budgets for images of this shape: the same root-mean-square change at every size."""
    return [epsilon * math.sqrt(math.prod(shape) / REFERENCE_VALUES) for epsilon in profile.epsilons]


def noise_levels_for(profile: Profile, sigma50: float) -> tuple[float, ...]:
    """Return the profile's noise levels, lowered where plain noise fires a trigger: there g is saturated and flat.

    Args:
        profile: the search.
        sigma50: smallest noise level at which half of the images move to one class.
    """
    fires = sigma50 <= NOISE_REFERENCE / 2
    return tuple(sorted({min(sigma, sigma50 / 2) if fires else sigma for sigma in profile.sigmas}))


def search(
    classifier: Classifier,
    subjects: Subjects,
    profile: Profile,
    sigma: float,
    noise: KeyedNoise,
    labels: Sequence[str],
    events: Events,
) -> Search:
    """Invert and test every class along the budgets, at one noise level.

    Args:
        classifier: the base classifier.
        subjects: the images.
        profile: budgets and effort.
        sigma: noise level of the smoothed classifier.
        noise: source of z.
        labels: name of each class, for the progress display.
        events: told how far the search is.
    """
    campaign = _Campaign(classifier, subjects, profile, sigma, noise, labels, events)
    if profile.first_epsilon is None:
        for level in range(len(profile.epsilons)):
            campaign.run(level, range(classifier.n_classes), start=None)
    else:
        _continuation(campaign, profile.epsilons.index(profile.first_epsilon), len(profile.epsilons))
    return campaign.result()


def _continuation(campaign: _Campaign, first: int, levels: int) -> None:
    """Find each class's e50 with as few inversions as the verdict needs.

    Perturbations shrink better than they grow: at a generous budget the search finds the trigger's basin, and the way
    down keeps it, while the way up starts in the nearest adversarial direction and may never leave it. So all classes
    begin at a middle budget; those that transfer go down until they no longer do. Those that do not go up only while
    the median of the others may be among them: it is all the verdict needs, and who is above it is ordinary.
    """
    everyone = range(campaign.k)
    campaign.run(first, everyone, start=None)
    active = campaign.transferring(first, everyone)
    for level in range(first - 1, -1, -1):
        campaign.run(level, active, start=level + 1)
        active = campaign.transferring(level, active)
    active = campaign.ordinary(first, everyone)
    for level in range(first + 1, levels):
        if len(active) <= (campaign.k - 2) // 2:
            break  # the median of the others is known for every class that transfers
        campaign.run(level, active, start=level - 1)
        active = campaign.ordinary(level, active)


class _Campaign:
    """One search in progress: what was tried, what it gave, and how much is left.

    Arguments are those of `search`.
    """

    def __init__(
        self,
        classifier: Classifier,
        subjects: Subjects,
        profile: Profile,
        sigma: float,
        noise: KeyedNoise,
        labels: Sequence[str],
        events: Events,
    ) -> None:
        self.classifier, self.profile, self.sigma, self.noise = classifier, profile, sigma, noise
        self.labels, self.events = labels, events
        self.k = classifier.n_classes
        self.epsilons = budgets(profile, classifier.input_shape)
        self.images, self.clean = subjects.images[subjects.held_out], subjects.clean[subjects.held_out]
        self.sources = torch.stack([subjects.images[subjects.source(t)] for t in range(self.k)])
        noisy = subjects.images + sigma * noise.vectors(PROBE_STREAM, 0, len(subjects.images))
        self.smoothed = SmoothedClassifier(classifier, sigma, logit_scale(classifier, noisy))
        self.moved = np.zeros((self.k, len(self.epsilons), len(self.images)), dtype=bool)
        self.tried = np.zeros((self.k, len(self.epsilons)), dtype=bool)
        self.perturbations: dict[tuple[int, int], Tensor] = {}
        self.rates = np.zeros(self.k)
        # a continuation takes about two and a half levels for each class; the estimate is corrected as it goes
        levels = len(self.epsilons) if profile.first_epsilon is None else 2.5
        self.done, self.total = 0.0, levels * self.k * self._passes()

    def run(self, level: int, classes: Sequence[int], start: int | None) -> None:
        """Invert and test these classes at one budget, from their perturbation at budget `start`, or from zero."""
        epsilon = self.epsilons[level]
        self.total = max(self.total, self.done + len(classes) * self._passes())
        group = max(self.classifier.batch_size // self.profile.n_noise, 1)
        for part in (list(classes[i : i + group]) for i in range(0, len(classes), group)):
            targets = torch.tensor(part)
            zero = torch.zeros_like(self.sources[targets])
            deltas = invert(
                self.smoothed,
                self.sources[targets],
                targets,
                zero if start is None else torch.stack([self.perturbations[t, start] for t in part]),
                epsilon=epsilon,
                profile=self.profile,
                noise=self.noise,
                # noise goes on counting, so that no budget sees another's; from zero each budget is a run of its own
                first_step=0 if self.profile.first_epsilon is None else level * self.profile.steps,
                on_step=self._advance,
            )
            for t, delta in zip(part, deltas, strict=True):
                hits = transfer(self.classifier, self.images, self.clean, delta, t)
                self.moved[t, level], self.tried[t, level] = hits.numpy(), True
                self.perturbations[t, level] = delta
                self.rates[t] = self._rate(t, level)
                self._advance(len(self.images) / 3)
        self.events.ranking(self._ranking())

    def transferring(self, level: int, classes: Sequence[int]) -> list[int]:
        """Return those of the classes that move at least half of the held-out images at this budget."""
        return [t for t in classes if self._rate(t, level) >= HALF]

    def ordinary(self, level: int, classes: Sequence[int]) -> list[int]:
        """Return those of the classes that do not."""
        return [t for t in classes if self._rate(t, level) < HALF]

    def result(self) -> Search:
        """Return what was found."""
        self.events.progress(self.total, self.total)
        even = np.arange(len(self.images)) % 2 == 0
        return Search(self._curves(), self._curves(even), self._curves(~even), self.perturbations)

    def _rate(self, t: int, level: int) -> float:
        return float(self.moved[t, level].sum() / max(int((self.clean != t).sum()), 1))

    def _passes(self) -> float:
        return self.profile.steps * self.profile.n_noise + len(self.images) / 3

    def _advance(self, passes: float) -> None:
        self.done += passes
        self.events.progress(self.done, self.total)

    def _curves(self, subset: NDArray[np.bool_] | slice = slice(None)) -> Curves:
        clean = self.clean.numpy()[subset]
        hits = np.where(self.tried, self.moved[:, :, subset].sum(2), -1)
        n_images = len(clean) - np.bincount(clean, minlength=self.k)
        return Curves(self.sigma, np.array(self.epsilons), hits, n_images)

    def _ranking(self) -> list[Ranked]:
        e50 = half_budgets(self._curves())
        order = np.lexsort((-self.rates, e50))
        return [
            Ranked(int(t), self.labels[t], float(self.rates[t]), float(e50[t]) if math.isfinite(e50[t]) else None)
            for t in order
        ]
