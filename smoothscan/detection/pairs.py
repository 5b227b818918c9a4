"""Triggers that work on images of one class only: a search for every pair of source and target class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import PAIR_HELD_OUT, PAIR_SYNTHESIS, Profile
from smoothscan.detection.inversion import Inverter, Manner
from smoothscan.detection.journal import Journal, Triggers
from smoothscan.detection.subjects import Subjects
from smoothscan.events import Events
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import standardised
from smoothscan.spaces import SPACES
from smoothscan.spaces.interface import REFERENCE_SIDE, Trigger
from smoothscan.verdict.budget import HALF
from smoothscan.verdict.evidence import PairCounts

SIDES = (3, 4)
"""Sides of the patch on an image of REFERENCE_SIDE pixels."""
SIGMA_SHARE = 0.25
"""Noise level of the search, as a share of the model's own."""
STEPS = 36
"""Gradient steps at each budget."""
MANNER = Manner(contrast=2 / 3, shift=0.1, open=2 / 3)
"""An image without contrast is no longer one of its class, and a trigger that asks for the class does not fire."""


@dataclass(frozen=True)
class PairSearch:
    """What the search over pairs gave."""

    counts: PairCounts
    """Counts on held-out images."""
    synthesis: list[list[int]]
    """Positions of the images of each source class that triggers were made from."""
    held_out: list[list[int]]
    """Positions of those that they were tested on."""
    triggers: Triggers[tuple[int, int, int]]
    """What was found, by position of the source class, target and position of the budget."""


def search_pairs(
    classifier: Classifier,
    subjects: Subjects,
    profile: Profile,
    level: float,
    noise: KeyedNoise,
    events: Events,
    journal: Journal,
) -> PairSearch:
    """Search a small patch for every pair of classes, from images of the source class, and test it on others of it.

    Source classes are what the model itself gives the images; those with too few images are left out.

    Args:
        classifier: the base classifier.
        subjects: the images.
        profile: noise vectors, step size and momentum.
        level: noise level that the model is searched at.
        noise: source of z.
        events: told how far the search is.
        journal: keeps what is found.

    Raises:
        TimeBudgetError: the journal's time ended first.
    """
    members = {a: torch.nonzero(subjects.clean == a).flatten().tolist() for a in range(classifier.n_classes)}
    members = {a: own for a, own in members.items() if len(own) >= PAIR_SYNTHESIS + PAIR_HELD_OUT}
    synthesis = [own[:PAIR_SYNTHESIS] for own in members.values()]
    held_out = [own[PAIR_SYNTHESIS:] for own in members.values()]

    sigma, space = SIGMA_SHARE * level, SPACES["patch"]
    scale = min(classifier.input_shape[1:]) / REFERENCE_SIDE
    epsilons = sorted({float(max(round(side * scale), 1) ** 2) for side in SIDES})
    smoothed = standardised(classifier, sigma, subjects.images, noise)
    effort = profile.model_copy(update={"steps": STEPS, "views": True})
    progress = _Progress(events)
    inverter = Inverter((smoothed,), space, effort, noise, progress.advance, MANNER)

    def inverted(part: Sequence[tuple[int, int]], e: int) -> dict[str, Tensor]:
        found = inverter.invert(
            torch.stack([subjects.images[synthesis[row]] for row, _ in part]),
            torch.tensor([t for _, t in part]),
            triggers.parameters([(row, t, e + 1) for row, t in part]) if e + 1 < len(epsilons) else None,
            epsilon=epsilons[e],
            first_step=(len(epsilons) - 1 - e) * STEPS,
        )
        moved = []
        for (row, t), parameters in zip(part, found.parameters, strict=True):
            answers = classifier.predict(Trigger(space, parameters).on(subjects.images[held_out[row]]))
            moved.append((answers == t).sum())
            progress.advance(len(held_out[row]) / 3)
        return {"parameters": found.parameters, "moved": torch.stack(moved)}

    triggers = Triggers[tuple[int, int, int]](space)
    hits = np.full((len(members), classifier.n_classes, len(epsilons)), -1, dtype=np.int64)
    active = [(row, t) for row, a in enumerate(members) for t in range(classifier.n_classes) if t != a]
    for e in range(len(epsilons) - 1, -1, -1):
        progress.begin(len(active))
        for part in _chunks(active, max(classifier.batch_size // profile.n_noise, 1)):
            piece = journal.once(f"pairs at {sigma!r}, budget {e}: {list(part)}", partial(inverted, part, e))
            for position, (row, t) in enumerate(part):
                triggers.keep((row, t, e), piece, position)
            hits[[row for row, _ in part], [t for _, t in part], e] = piece["moved"].numpy()
            progress.finished(len(part), piece.recalled)
        active = [(row, t) for row, t in active if hits[row, t, e] >= HALF * len(held_out[row])]
    counts = PairCounts(
        sources=np.array(list(members), dtype=np.int64),
        n_images=np.array([len(own) for own in held_out], dtype=np.int64),
        n_synthesis=PAIR_SYNTHESIS,
        epsilons=np.array(epsilons),
        hits=hits,
        sigma=sigma,
    )
    return PairSearch(counts, synthesis, held_out, triggers)


class _Progress:
    """Passes done at one budget, and how many there will be as the pairs so far tell."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.begin(0)

    def begin(self, pairs: int) -> None:
        self.pairs, self.ready, self.done, self.total = pairs, 0, 0.0, 0.0

    def advance(self, passes: float) -> None:
        self.done += passes
        self.events.progress(self.done, max(self.done, self.total))

    def finished(self, pairs: int, recalled: bool) -> None:
        if recalled:  # no time was spent that an estimate could rest on
            self.pairs -= pairs
            return
        self.ready += pairs
        self.total = self.done / self.ready * self.pairs


def _chunks(pairs: Sequence[tuple[int, int]], size: int) -> list[Sequence[tuple[int, int]]]:
    return [pairs[i : i + size] for i in range(0, len(pairs), size)]
