"""Examines one classifier: noise probe, searches space by space, verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import Denoising, ScanConfig
from smoothscan.detection.journal import Journal
from smoothscan.detection.pairs import PairSearch, search_pairs
from smoothscan.detection.preparation import prepare
from smoothscan.detection.probe import fired, noise_level, probe
from smoothscan.detection.schedule import Search, Turns, search
from smoothscan.detection.screening import Selection
from smoothscan.detection.subjects import Subjects
from smoothscan.errors import TimeBudgetError
from smoothscan.events import Events
from smoothscan.result import ArchitectureFinding
from smoothscan.smoothing.denoiser import Denoiser, StraightThrough
from smoothscan.spaces.interface import Space
from smoothscan.verdict.calibration import Calibration
from smoothscan.verdict.decision import Verdict, decide, undecided
from smoothscan.verdict.evidence import Evidence

TURNS: dict[Denoising, Callable[[Denoiser], Turns]] = {
    "auto": lambda _: (None,),
    "mixed": lambda denoiser: (None, StraightThrough(denoiser)),
    "always": lambda denoiser: (denoiser,),
}
"""What the steps of the first search in each space go through; see docs/detection.md for how `mixed` was chosen."""
ENDING, LEAST_ENDING = 2.0, 5.0
"""Time that is kept back from a time budget for the program's start and the end of a scan, its controls, pictures and
files: as a multiple of the noise probe's, and the least in seconds."""


@dataclass(frozen=True)
class Examination:
    """One classifier, examined."""

    verdict: Verdict
    """The judgement."""
    evidence: Evidence
    """The counts behind it."""
    subjects: Subjects
    """The images, by their part in it."""
    searches: tuple[Search, ...]
    """The searches that these counts are from."""
    pairs: PairSearch | None = None
    """The search over pairs of source and target class, if there was one."""

    def coverage(self) -> dict[str, Any]:
        """Return how much each class got."""
        selections = [search.selection for search in self.searches]
        spent = np.sum([selection.spent for selection in selections], axis=0)
        return {
            "classes_examined": len(spent),
            "classes_in_full": len({int(t) for selection in selections for t in selection.classes}),
            "passes_by_class": tuple(round(float(passes), 1) for passes in spent),
            "held_out": len(self.subjects.held_out),
            "unfinished": self.evidence.unfinished,
        }

    @property
    def search(self) -> Search:
        """The search that is reported."""
        return self.searches[self.verdict.search]


def examine(
    classifier: Classifier,
    pixels: Tensor,
    names: Sequence[str],
    labels: Sequence[str],
    config: ScanConfig,
    events: Events,
    calibration: Calibration | None = None,
    journal: Journal | None = None,
    architecture: Sequence[ArchitectureFinding] = (),
    denoiser: Denoiser | None = None,
) -> Examination:
    """Search a classifier for a backdoor and judge it.

    Args:
        classifier: the base classifier, wherever it runs.
        pixels: clean images, [N, C, H, W] in [0, 1].
        names: their names, [N].
        labels: names of the classes, [K].
        config: profile, noise level, seed, number of synthesis images and use of the denoiser; the rest is not
            looked at.
        events: told how far the search is.
        calibration: anomalies of clean models, if there are any.
        journal: keeps what is found; a temporary one if left out.
        architecture: steps in the model's graph that the search cannot follow.
        denoiser: takes the noise off images before the classifier sees them.

    Raises:
        TimeBudgetError: the journal's time ended before anything was searched to its end.
        SmoothscanError: see `prepare`.
    """
    profile, k = config.search(), classifier.n_classes
    journal = Journal(None, classifier.meter) if journal is None else journal
    events.stage("probe", "how predictions move under plain noise")
    prepared = prepare(classifier, pixels, config)
    spaces, noise, subjects = prepared.spaces, prepared.noise, prepared.subjects
    began = time.monotonic()
    counts = probe(classifier, pixels, subjects.clean, noise)
    journal.deadline -= max(ENDING * (time.monotonic() - began), LEAST_ENDING)

    levels = profile.sigmas or (noise_level(counts),)
    turns = (None,) if denoiser is None else TURNS[config.denoising](denoiser)
    left = [*(space.name for space in spaces for _ in levels), *(["pairs"] if config.pairs else [])]
    searches, pairs = list[Search](), None

    def searched(space: Space, sigma: float, turns: Turns, selection: Selection | None = None) -> Search:
        through = ", denoised" if any(turns) else ""
        events.stage("invert", f"{k} classes, {space.title}, noise level {sigma:.3g}{through}")
        known = (noise, labels, events, journal, fired(counts))
        return search(classifier, subjects, profile, space, sigma, *known, turns, selection)

    try:
        for space in spaces:
            for level in levels:
                searches.append(searched(space, space.sigma_share * level, turns))
                left.pop(0)
        if config.pairs:
            events.stage("invert", f"pairs of source and target class, noise level {levels[0]:.3g}")
            pairs = search_pairs(classifier, subjects, profile, levels[0], noise, events, journal)
            left.pop(0)
        if denoiser is not None and not any(turns):
            open_ones = undecided([s.curves for s in searches], counts)
            again = [s for s in searches if s.curves.space in open_ones]
            left += [s.curves.space for s in again]
            for before in again:
                space, sigma = before.triggers.space, before.curves.sigma
                searches.append(searched(space, sigma, TURNS["mixed"](denoiser), before.selection))
                left.pop(0)
    except TimeBudgetError:
        if not searches:
            raise
    unfinished = tuple(dict.fromkeys(left))

    counted = None if pairs is None else pairs.counts
    evidence = Evidence(tuple(s.curves for s in searches), counts, counted, unfinished)
    sources = [[names[i] for i in subjects.sources(t)] for t in range(k)]
    verdict = decide(evidence, labels, sources, pixels[0].numel(), calibration, architecture)
    return Examination(verdict, evidence, subjects, tuple(searches), pairs)
