"""Which class gets which budget: a continuation along epsilon that spends most where a verdict hangs on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import Profile
from smoothscan.detection.inversion import Inverter
from smoothscan.detection.journal import Journal, Piece, Triggers
from smoothscan.detection.screening import FINALISTS, SAMPLED, Selection, everyone, passes, select
from smoothscan.detection.subjects import FOLDS, Subjects
from smoothscan.detection.transfer import transfer
from smoothscan.events import Events, Ranked
from smoothscan.smoothing.denoiser import Denoiser, StraightThrough
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import standardised
from smoothscan.spaces.interface import Shape, Space, Trigger
from smoothscan.verdict.budget import crossing
from smoothscan.verdict.evidence import Curves

GENEROUS = 2
"""Steps between budgets that a generous one lies below the ordinary budget: a factor of two in all."""

WIDE = 2
"""Steps between budgets on the way up where a screening left few classes, a factor of two, and steps that it begins
higher where all classes are hard: images of a thousand kinds need large budgets, and the way there costs most."""


Turns = tuple[Denoiser | StraightThrough | None, ...]
"""What the steps of a search go through by turns: denoisers, or nothing."""


@dataclass(frozen=True)
class Search:
    """What one noise level gave in one space."""

    curves: Curves
    """Counts on the held-out images."""
    triggers: Triggers[tuple[int, int]]
    """What was found, by class and position of the budget."""
    selection: Selection
    """Which classes were searched in full, and why these."""


def search(
    classifier: Classifier,
    subjects: Subjects,
    profile: Profile,
    space: Space,
    sigma: float,
    noise: KeyedNoise,
    labels: Sequence[str],
    events: Events,
    journal: Journal,
    always: Sequence[int] = (),
    turns: Turns = (None,),
    selection: Selection | None = None,
) -> Search:
    """Invert and test classes along the budgets of one space, at one noise level: all, or of many those worth it.

    Args:
        classifier: the base classifier.
        subjects: the images.
        profile: budgets and effort.
        space: what a trigger may be.
        sigma: noise level of the smoothed classifier.
        noise: source of z.
        labels: name of each class, for the progress display.
        events: told how far the search is.
        journal: keeps what is found.
        always: classes that are searched in full whatever a screening says of them.
        turns: what the steps go through by turns.
        selection: classes that another search has chosen to search in full, if there was one.

    Raises:
        TimeBudgetError: the journal's time ended first.
    """
    campaign = _Campaign(classifier, subjects, profile, space, sigma, noise, labels, events, journal, turns)
    if campaign.ladder.first is None:
        for level in range(campaign.levels):
            campaign.run(level, campaign.classes, start=None)
    else:
        first = campaign.ladder.first
        if subjects.screening:
            first = campaign.screen(first, always, selection)
        _continuation(campaign, first)
    return campaign.result()


def _continuation(campaign: _Campaign, first: int) -> None:
    """Find each class's e50 with as few inversions as the verdict needs.

    Perturbations shrink better than they grow: at a generous budget the search finds the trigger's basin, and the way
    down keeps it, while the way up starts in the nearest adversarial direction and may never leave it. So all classes
    begin at a middle budget, more than once, because a single search may pass a trigger by. Those that transfer go down
    until they no longer do. Those that do not go up only while the median of the others may be among them: it is all
    the verdict needs, and who is above it is ordinary. If that median turns out to lie far above the budget they began
    at, that was no generous one for this model, and the way down is gone once more from a budget that is.

    Spaces in which ordinary classes find little begin at their largest budget: there is only the way down.
    """
    classes = campaign.classes
    for attempt in range(campaign.ladder.starts):
        campaign.run(first, classes, start=None, attempt=attempt)
    _downwards(campaign, first)
    level, active = first, campaign.ordinary(first, classes)
    stride = WIDE if campaign.selection.rounds else 1
    while campaign.median_among(active) and level + 1 < campaign.levels:
        level, below = min(level + stride, campaign.levels - 1), level
        campaign.run(level, active, start=below)
        active = campaign.ordinary(level, active)
    generous = level - GENEROUS
    if generous > first:
        campaign.run(generous, classes, start=None, attempt=campaign.ladder.starts)
        _downwards(campaign, generous, campaign.ladder.starts)


def _downwards(campaign: _Campaign, first: int, attempt: int = 0) -> None:
    active = campaign.transferring(first, campaign.classes)
    for level in range(first - 1, -1, -1):
        if not active:
            break
        campaign.run(level, active, start=level + 1, attempt=attempt)
        active = campaign.transferring(level, active)


def expected_passes(space: Space, profile: Profile, shape: Shape, n_classes: int, subjects: Subjects) -> float:
    """Return about how many model passes a search of one space at one noise level takes.

    What a continuation finds decides how far it goes: in the middle of its budgets for one and a half levels more than
    it has starts, and from the largest one on, which few classes transfer at, for half a level.
    """
    ladder = space.ladder(profile, shape)
    if ladder.first is None:
        levels = float(len(ladder.epsilons))
    else:
        levels = ladder.starts + (1.5 if ladder.first + 1 < len(ladder.epsilons) else 0.5)
    in_full, screening = n_classes, 0.0
    if subjects.screening:
        in_full, screening = SAMPLED + FINALISTS, passes(n_classes, len(subjects.probes))
    return screening + levels * in_full * _passes(space, profile, len(subjects.held_out))


def _passes(space: Space, profile: Profile, n_images: int) -> float:
    """Return the passes of one class at one budget."""
    return space.effort * profile.steps * profile.n_noise + n_images / 3


class _Campaign:
    """One search in progress: what was tried, what it gave, and how much is left.

    Arguments are those of `search`.
    """

    def __init__(
        self,
        classifier: Classifier,
        subjects: Subjects,
        profile: Profile,
        space: Space,
        sigma: float,
        noise: KeyedNoise,
        labels: Sequence[str],
        events: Events,
        journal: Journal,
        turns: Turns,
    ) -> None:
        self.classifier, self.profile, self.space, self.sigma = classifier, profile, space, sigma
        self.noise, self.labels, self.events, self.journal = noise, labels, events, journal
        self.k = classifier.n_classes
        self.ladder = space.ladder(profile, classifier.input_shape)
        self.epsilons = self.ladder.epsilons
        self.levels = len(self.epsilons)
        self.images, self.clean = subjects.images[subjects.held_out], subjects.clean[subjects.held_out]
        self.subjects, self.selection = subjects, everyone(self.k)
        self.turns = turns
        smoothed = tuple(standardised(classifier, sigma, subjects.images, noise, denoiser) for denoiser in turns)
        self.inverter = Inverter(smoothed, space, profile, noise, self._advance)
        self.moved = np.zeros((self.k, len(self.epsilons), len(self.images)), dtype=bool)
        self.tried = np.zeros((self.k, len(self.epsilons)), dtype=bool)
        self.silent, self.reached = np.zeros((2, self.k, len(self.epsilons)))
        self.triggers = Triggers[tuple[int, int]](space)
        self.rates = np.zeros(self.k)
        self.spent = np.zeros(self.k)
        self.done, self.total = 0.0, expected_passes(space, profile, classifier.input_shape, self.k, subjects)

    @property
    def classes(self) -> list[int]:
        """Classes that are searched in full, ascending."""
        return [int(t) for t in self.selection.classes]

    def screen(self, level: int, always: Sequence[int], chosen: Selection | None) -> int:
        """Choose the classes that are searched in full, at one budget, and return the budget to begin with.

        Args:
            level: position of the budget.
            always: classes that go on whatever the screening says.
            chosen: what an earlier search has chosen, if there was one.
        """
        if chosen is not None:
            self.selection = replace(chosen, spent=np.zeros(self.k))
        else:
            self.selection = select(
                self.classifier,
                self.inverter,
                self.subjects,
                self.profile,
                self.epsilons[level],
                self.noise,
                always,
                self._once,
            )
        return min(level + WIDE, self.levels - 1) if self.selection.hard else level

    def run(self, level: int, classes: Sequence[int], start: int | None, attempt: int = 0) -> None:
        """Invert and test these classes at one budget, from their trigger at budget `start`, or from nothing.

        Every attempt at every budget has noise of its own; in the paper's protocol all budgets have the same.
        """
        first_step = 0 if self.ladder.first is None else (attempt * self.levels + level) * self.profile.steps
        self.total = max(self.total, self.done + len(classes) * self._passes())
        group = max(self.classifier.batch_size // self.profile.n_noise, 1)
        title = f"budget {level}, attempt {attempt}, from {start}"
        shortlist = None
        if start is None:
            shortlist = self._shortlist(classes, self.epsilons[level], title)
        for first in range(0, len(classes), group):
            part = list(classes[first : first + group])
            mine = None if shortlist is None else shortlist[first : first + group]
            piece = self._once(f"{title}: {part}", partial(self._invert, part, level, start, first_step, mine))
            silent, reached, moved = (piece[name].numpy() for name in ("silent", "reached", "moved"))
            for position, t in enumerate(part):
                if self.tried[t, level] and self.moved[t, level].sum() >= moved[position].sum():
                    continue  # another search found better before
                self.moved[t, level], self.tried[t, level] = moved[position], True
                self.silent[t, level], self.reached[t, level] = silent[position], reached[position]
                self.triggers.keep((t, level), piece, position)
                self.rates[t] = self._rate(t, level)
            self.spent[part] += piece.passes / len(part)
        self.events.ranking(self._ranking())

    def _once(self, title: str, work: Callable[[], dict[str, Tensor]]) -> Piece:
        how = f", {sum(map(bool, self.turns))} of {len(self.turns)} steps denoised" if any(self.turns) else ""
        piece = self.journal.once(f"{self.space.name} at {self.sigma!r}{how}, {title}", work)
        if piece.recalled:
            self.total = max(self.total - piece.passes, self.done)  # no time was spent that an estimate could rest on
        return piece

    def _invert(
        self, part: list[int], level: int, start: int | None, first_step: int, shortlist: Tensor | None
    ) -> dict[str, Tensor]:
        """Return what classes need to be led to at one budget, and which held-out images that moves, [G, H]."""
        found = self.inverter.invert(
            torch.stack([self.subjects.images[self.subjects.sources(t)] for t in part]),
            torch.tensor(part),
            None if start is None else self.triggers.parameters([(t, start) for t in part]),
            epsilon=self.epsilons[level],
            first_step=first_step,
            shortlist=shortlist,
        )
        moved = []
        for t, parameters in zip(part, found.parameters, strict=True):
            moved.append(transfer(self.classifier, self.images, self.clean, Trigger(self.space, parameters), t))
            self._advance(len(self.images) / 3)
        return {**vars(found), "moved": torch.stack(moved)}

    def transferring(self, level: int, classes: Sequence[int]) -> list[int]:
        """Return those of the classes that transfer at this budget."""
        return [t for t in classes if self._rate(t, level) >= self.space.level]

    def ordinary(self, level: int, classes: Sequence[int]) -> list[int]:
        """Return those of the classes that do not."""
        return [t for t in classes if self._rate(t, level) < self.space.level]

    def median_among(self, classes: Sequence[int]) -> bool:
        """Tell whether the median of the others may be among these classes, for a class that is not."""
        left = np.isin(self.selection.classes, classes) & self.selection.sampled
        return bool(left.sum() > (self.selection.sampled.sum() - 2) // 2)

    def result(self) -> Search:
        """Return what was found, with the matched control."""
        at, control = np.zeros(self.k, dtype=np.int64), np.zeros(self.k, dtype=np.int64)
        for t in self.classes:
            tried = np.flatnonzero(self.tried[t])
            transferring = [level for level in tried if self._rate(t, int(level)) >= self.space.level]
            at[t] = transferring[0] if transferring else tried[-1]
            other = Trigger(self.space, self.space.control(self.triggers[t, int(at[t])].parameters, t, self.noise))
            control[t] = int(transfer(self.classifier, self.images, self.clean, other, t).sum())
        self.events.progress(self.total, self.total)
        selection = replace(self.selection, spent=self.selection.spent + self.spent)
        return Search(self._curves(control, at), self.triggers, selection)

    def _shortlist(self, classes: Sequence[int], epsilon: float, title: str) -> Tensor | None:
        """Return what the searches of these classes begin with, if the space has a dictionary."""
        synthesis = self.subjects.synthesis
        sources = torch.tensor([[synthesis.index(i) for i in self.subjects.sources(t)] for t in classes])
        images, targets = self.subjects.images[list(synthesis)], torch.tensor(classes)
        return self.inverter.shortlist(images, sources, targets, epsilon=epsilon, once=self._once, title=title)

    def _rate(self, t: int, level: int) -> float:
        return float(self.moved[t, level].sum() / max(int((self.clean != t).sum()), 1))

    def _passes(self) -> float:
        return _passes(self.space, self.profile, len(self.images))

    def _advance(self, passes: float) -> None:
        self.done += passes
        self.total = max(self.total, self.done)
        self.events.progress(self.done, self.total)

    def _curves(self, control: NDArray[np.int64], control_at: NDArray[np.int64]) -> Curves:
        fold = np.arange(len(self.images)) % FOLDS
        clean = self.clean.numpy()
        parts, mine = [fold == f for f in range(FOLDS)], self.selection.classes
        return Curves(
            space=self.space.name,
            level=self.space.level,
            sigma=self.sigma,
            epsilons=np.array(self.epsilons),
            classes=mine,
            sampled=self.selection.sampled,
            rounds=self.selection.rounds,
            denoised=any(self.turns),
            hits=np.stack([np.where(self.tried, self.moved[:, :, part].sum(2), -1)[mine] for part in parts]),
            n_images=np.stack([part.sum() - np.bincount(clean[part], minlength=self.k)[mine] for part in parts]),
            control=control[mine],
            control_at=control_at[mine],
            silent=np.nanmean(np.where(self.tried, self.silent, np.nan)[mine], axis=1),
            reached=self.reached[mine].max(1),
        )

    def _ranking(self) -> list[Ranked]:
        mine = self.selection.classes
        n = np.maximum(len(self.images) - np.bincount(self.clean.numpy(), minlength=self.k)[mine], 1)
        rates = np.where(self.tried[mine], self.moved[mine].sum(2) / n[:, None], -1.0)
        e50 = np.array([crossing(np.array(self.epsilons), rate, level=self.space.level) for rate in rates])
        order = np.lexsort((-self.rates[mine], e50))
        return [
            Ranked(
                int(mine[i]),
                self.labels[mine[i]],
                float(self.rates[mine[i]]),
                float(e50[i]) if math.isfinite(e50[i]) else None,
            )
            for i in order
        ]
