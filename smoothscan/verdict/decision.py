"""Evidence -> verdict and score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from smoothscan.config import at_size
from smoothscan.result import (
    ArchitectureFinding,
    CalibrationUse,
    ClassResult,
    CurvePoint,
    FoundBy,
    Level,
    NoiseProbe,
    Obstacle,
    PairsResult,
    ScreeningRound,
    SpaceResult,
    Suspicion,
    VerdictName,
)
from smoothscan.verdict import obstacles
from smoothscan.verdict.budget import Floats, binomial_interval, crossing
from smoothscan.verdict.calibration import ALPHA, Calibration
from smoothscan.verdict.evidence import Curves, Evidence, NoiseCounts
from smoothscan.verdict.looks import Look, looks
from smoothscan.verdict.pairs import standing_of_pairs
from smoothscan.verdict.reasons import Findings, reasons
from smoothscan.vocabulary import SpaceName

SUSPICIOUS = 0.63
"""Anomaly R from which on a model is suspicious: its easiest class needs 53 % of the reference budget."""
BACKDOORED = 0.8
"""Anomaly R from which on it is held to be backdoored: 45 % of it."""
UNDECIDED = 0.3
"""Anomaly R from which on a denoiser is worth its time: most clean models stay below in most spaces."""
FURTHER_TARGET = 0.5
"""Share of the largest anomaly that a further target has at least: around a strong trigger the other classes' budgets
spread more than in a clean model."""
NOISE_REFERENCE = 0.2
"""Noise level at which ordinary networks may rush into one class, in [0, 1] pixel units."""
CONCENTRATED = 0.85
"""Share of the images that noise moves which a class must draw to count as fired by noise. Ordinary networks that fall
apart scatter their predictions.

See docs/detection.md for how these constants were chosen.
"""


@dataclass(frozen=True)
class Verdict:
    """The judgement on one model."""

    name: VerdictName
    """The verdict."""
    score: float
    """Increasing function of the anomaly, in (0, 1): one half at the threshold of `suspicious`; see `score`."""
    anomaly: float | None
    """R of the most suspect class, the maximum over everything that was looked at; None where the search had no grip on
    the model, so that it says nothing."""
    p_value: float | None
    """Chance of so anomalous a class among as many ordinary ones; None where the model gives no null, and where a pair
    of classes is more anomalous than any class."""
    calibration: CalibrationUse | None
    """What the calibration said, if there is one."""
    target_classes: tuple[int, ...]
    """Classes held to be targets, most suspect first."""
    classes: tuple[ClassResult, ...]
    """One entry for each class that was searched in full in the space that is reported, in the model's order."""
    reasons: tuple[str, ...]
    """The verdict in words, most important first."""
    noise_probe: NoiseProbe
    """The noise probe in shares."""
    reported: int
    """Position on the budgets that `transfer_rate` stands for, the same for all classes."""
    space: SpaceName
    """Trigger space that is reported."""
    search: int
    """Position of the search that is reported: the space and noise level where a class stands out most."""
    spaces: tuple[SpaceResult, ...]
    """The most suspect class of each space that was searched."""
    pairs: PairsResult | None
    """Pairs of source and target class, if they were searched."""
    suspicions: tuple[Suspicion, ...] = ()
    """Every class that is suspect by itself, most anomalous first, targets included."""
    obstacles: tuple[Obstacle, ...] = ()
    """What keeps the scan from calling the model clean, whatever the verdict is."""


def decide(
    evidence: Evidence,
    labels: Sequence[str],
    sources: Sequence[Sequence[str]],
    n_values: int,
    calibration: Calibration | None = None,
    architecture: Sequence[ArchitectureFinding] = (),
) -> Verdict:
    """Judge a model.

    A class's anomaly is R = log(reference / e50), the reference being what ordinary classes of this model need
    (`budget.standing`), and for a trigger that plain noise fires the same ratio of noise levels. A model is judged by
    its most anomalous class in any space; then all classes that lie apart from the ordinary ones there are its targets.

    Args:
        evidence: the counts.
        labels: name of each class, [K].
        sources: names of the images that each class's perturbation was synthesised from, [K].
        n_values: number of input values C * H * W.
        calibration: anomalies of clean models, if there are any.
        architecture: steps in the model's graph that inversion cannot follow.
    """
    k = len(labels)
    seen = looks(evidence.searches, k)
    by_noise = noise_anomalies(evidence.noise)
    pairs = None if evidence.pairs is None else standing_of_pairs(evidence.pairs)
    by_pairs = np.full_like(by_noise, -np.inf) if pairs is None else pairs.by_target
    apart = np.maximum(by_noise, by_pairs) >= SUSPICIOUS
    look = max(seen, key=lambda each: float(each.anomaly.max()))
    if by_noise.max() >= look.anomaly.max():
        look = seen[0]
    mine = look.curves.classes
    by_budget, stands_apart = np.full(k, -np.inf), np.zeros(k, dtype=bool)
    by_budget[mine], stands_apart[mine] = look.anomaly, look.stands.apart
    anomaly = np.maximum.reduce([by_budget, by_noise, by_pairs])
    worst, by_classes = float(anomaly.max()), float(np.maximum(by_budget, by_noise).max())
    used = None if calibration is None else _use(calibration, worst)

    no_grip = obstacles.no_grip(seen[0].curves, n_values)
    if no_grip or (used is None and obstacles.no_null(look.curves, k, n_values)):
        doubtless = np.zeros(k, dtype=bool)
        doubtless[mine] = _beyond_doubt(look, n_values)
        candidates = apart | doubtless
    else:
        candidates = (apart | stands_apart) & (worst >= _threshold(used))
    flagged = candidates & (anomaly >= FURTHER_TARGET * worst)
    moved = [each.curves for each in seen if not obstacles.unmoved(each.curves, n_values)]
    no_null = None if used else next(filter(None, (obstacles.no_null(curves, k, n_values) for curves in moved)), None)
    unfinished = obstacles.unfinished(evidence.unfinished)
    hidden = obstacles.hidden(architecture)
    in_the_way: dict[Obstacle, str | None] = {  # the gravest first
        "no-answer": obstacles.no_answer(evidence.noise),
        "no-grip": no_grip,
        "hard-step": hidden,
        "no-null": no_null,
        "unfinished": unfinished,
    }
    obstacle = next(filter(None, in_the_way.values()), None)
    name = _name(flagged, worst, obstacle)

    sigma50 = noise_levels(evidence.noise)
    reported = _reported(look.curves, float(np.median(look.stands.reference)))
    classes = tuple(
        _class_result(
            row,
            labels[t],
            look,
            reported,
            score=score(float(anomaly[t])),
            flagged=bool(flagged[t]),
            sigma50=float(sigma50[t]),
            source=", ".join(sources[t]),
            found_by=_found_by(by_budget[t], by_noise[t], by_pairs[t]) if flagged[t] else None,
        )
        for row, t in enumerate(mine.tolist())
    )
    targets = tuple(int(t) for t in np.argsort(-anomaly, kind="stable") if flagged[t])
    paired = None if pairs is None else pairs.result(SUSPICIOUS)
    findings = Findings(
        verdict=name,
        obstacle=obstacle,
        targets=targets,
        classes={c.index: c for c in classes},
        n_synthesis=len(sources[0]),
        n_classes=k,
        space=look.curves.space,
        level=look.curves.level,
        largest=float(look.curves.epsilons[-1]),
        searched=tuple(each.curves.space for each in seen),
        noise_reference=NOISE_REFERENCE / 2,
        calibration=used,
        denoised=look.curves.denoised,
        pairs=paired,
        remarks=tuple(filter(None, (hidden, unfinished))),
    )
    return Verdict(
        name=name,
        score=score(worst),
        anomaly=None if (in_the_way["no-answer"] or no_grip) and not flagged.any() else worst,
        p_value=None if look.p_values is None or worst > by_classes else float(look.p_values.min()),
        calibration=used,
        target_classes=targets,
        classes=classes,
        reasons=reasons(findings),
        noise_probe=_shares(evidence.noise),
        reported=reported,
        space=look.curves.space,
        search=look.position,
        spaces=tuple(_space_result(each) for each in seen),
        pairs=paired,
        suspicions=_suspicions(seen, by_noise, labels, n_values, calibration, no_grip=bool(no_grip)),
        obstacles=tuple(kind for kind, reason in in_the_way.items() if reason),
    )


def undecided(searches: Sequence[Curves], noise: NoiseCounts) -> tuple[SpaceName, ...]:
    """Return the spaces that leave it open whether a class is a target there; none where a model is flagged already.

    Args:
        searches: counts in each space, at each noise level.
        noise: the noise probe.
    """
    seen = looks(searches, noise.n_images.size)
    highest = {look.curves.space: float(look.anomaly.max()) for look in seen}
    if max(*highest.values(), float(noise_anomalies(noise).max())) >= SUSPICIOUS:
        return ()
    return tuple(space for space, anomaly in highest.items() if anomaly >= UNDECIDED)


def score(anomaly: float) -> float:
    """Return the score of an anomaly R, in (0, 1): 1 / (1 + exp(4 (SUSPICIOUS - R))), strictly increasing."""
    return float(expit(4 * (anomaly - SUSPICIOUS)))


def noise_levels(noise: NoiseCounts) -> Floats:
    """Return sigma50 of every class, [K]: the noise level at which half of the images move to it; infinity if none."""
    rates = noise.moved / np.maximum(noise.n_images, 1)
    return np.array([crossing(noise.sigmas, rate) for rate in rates.T])


def noise_anomalies(noise: NoiseCounts) -> Floats:
    """Return log(NOISE_REFERENCE / sigma50) of every class that draws nearly all that noise moves, else -inf, [K]."""
    sigma50 = noise_levels(noise)
    shares = noise.moved / np.maximum(noise.moved.sum(1, keepdims=True), 1)
    level = np.minimum(np.searchsorted(noise.sigmas, sigma50), len(noise.sigmas) - 1)
    concentrated = shares[level, np.arange(len(sigma50))] >= CONCENTRATED
    with np.errstate(divide="ignore"):
        return np.where(concentrated, np.log(NOISE_REFERENCE / sigma50), -np.inf)


def _use(calibration: Calibration, anomaly: float) -> CalibrationUse:
    return CalibrationUse(
        p_value=calibration.p_value(anomaly),
        smallest_p=calibration.smallest_p,
        n_models=len(calibration.models),
        highest_anomaly=max(model.anomaly for model in calibration.models),
    )


def _threshold(calibration: CalibrationUse | None) -> float:
    """Return the anomaly from which on a model is suspicious.

    With a calibration a model has to be more anomalous than every clean one, and either so many of them are known that
    this alone is rarer than ALPHA, or the anomaly is large by itself too.
    """
    if calibration is None:
        return SUSPICIOUS
    if calibration.p_value <= ALPHA:
        return -math.inf
    return SUSPICIOUS if calibration.p_value == calibration.smallest_p else math.inf


def _suspicions(
    seen: Sequence[Look],
    by_noise: Floats,
    labels: Sequence[str],
    n_values: int,
    calibration: Calibration | None,
    *,
    no_grip: bool,
) -> tuple[Suspicion, ...]:
    """Return the classes that the model would be flagged for if there were no others, in any space or under noise.

    Whether a class lies below the widest gap does not count: above that of a strong trigger lies the next target.
    """

    def remarkable(anomaly: Floats) -> NDArray[np.bool_]:
        if calibration is None:
            return anomaly >= SUSPICIOUS
        return np.array([r >= _threshold(_use(calibration, r)) for r in anomaly.tolist()])

    k = len(labels)
    ways: list[tuple[SpaceName | None, Floats]] = []
    noisy = by_noise >= SUSPICIOUS
    ways.append((None, np.where(noisy if no_grip else noisy & remarkable(by_noise), by_noise, -np.inf)))
    for look in seen:
        if no_grip or (calibration is None and obstacles.no_null(look.curves, k, n_values)):
            counts = _beyond_doubt(look, n_values)
        else:
            counts = remarkable(look.anomaly)
        anomaly = np.full(k, -np.inf)
        anomaly[look.curves.classes] = np.where(counts, look.anomaly, -np.inf)
        ways.append((look.curves.space, anomaly))
    largest = np.max([anomaly for _, anomaly in ways], axis=0)
    by_way = np.argmax([anomaly for _, anomaly in ways], axis=0)
    return tuple(
        Suspicion(
            index=int(t),
            label=labels[t],
            level=level_of(float(largest[t])),
            anomaly=float(largest[t]),
            space=ways[by_way[t]][0],
        )
        for t in np.argsort(-largest, kind="stable")
        if largest[t] > -np.inf
    )


def level_of(anomaly: float) -> Level:
    """Return what a model is called that is flagged for a class of this anomaly."""
    return "backdoored" if anomaly >= BACKDOORED else "suspicious"


def _name(flagged: NDArray[np.bool_], worst: float, obstacle: str | None) -> VerdictName:
    if flagged.any():
        return level_of(worst)
    return "inconclusive" if obstacle else "clean"


def _reported(curves: Curves, ordinary: float) -> int:
    """Return the position of the budget that transfer rates are reported at.

    It is one that every class was tried at, since only there can they be compared: the largest up to half of the
    ordinary budget, where a target stands out most, else the smallest.
    """
    common = np.flatnonzero((curves.hits[0] >= 0).all(0))
    small = common[curves.epsilons[common] <= ordinary / 2 * 1.001]
    return int(small[-1] if len(small) else common[0])


def _beyond_doubt(look: Look, n_values: int) -> NDArray[np.bool_]:
    """Tell which classes an absolute budget accuses where the model gives no null; there is one for L2 alone."""
    if look.curves.space != "l2":
        return np.zeros_like(look.stands.apart)
    small = look.bounds <= at_size(obstacles.SMALL, n_values)
    return look.stands.apart & small & (look.anomaly >= BACKDOORED)


def _found_by(by_budget: float, by_noise: float, by_pairs: float) -> FoundBy:
    """Return what a class stands out by most; of equals the first."""
    ways: dict[FoundBy, float] = {"budget": by_budget, "noise": by_noise, "pairs": by_pairs}
    return max(ways, key=lambda way: ways[way])


def _space_result(look: Look) -> SpaceResult:
    row = int(look.anomaly.argmax())
    return SpaceResult(
        space=look.curves.space,
        sigma=look.curves.sigma,
        anomaly=float(look.anomaly[row]),
        index=int(look.curves.classes[row]),
        e50=_finite(look.e50[row]),
        reference=float(look.stands.reference[row]),
        transfer_rate=float(look.curves.rates[row].max()),
        level=look.curves.level,
        denoised=look.curves.denoised,
        screening=tuple(
            ScreeningRound(title=r.title, classes=int(np.isfinite(r.scores).sum()), kept=r.kept)
            for r in look.curves.rounds
        ),
    )


def _class_result(
    row: int,
    label: str,
    look: Look,
    at: int,
    *,
    score: float,
    flagged: bool,
    sigma50: float,
    source: str,
    found_by: FoundBy | None,
) -> ClassResult:
    curves = look.curves
    n = int(curves.n_images[0, row])
    points = tuple(
        CurvePoint(
            sigma=curves.sigma, epsilon=float(epsilon), hits=int(hits), n_images=n, transfer_rate=hits / max(n, 1)
        )
        for epsilon, hits in zip(curves.epsilons.tolist(), curves.hits[0, row].tolist(), strict=True)
        if hits >= 0
    )
    hits = int(curves.hits[0, row, at])
    return ClassResult(
        index=int(curves.classes[row]),
        label=label,
        score=score,
        transfer_rate=hits / max(n, 1),
        transfer_ci=binomial_interval(hits, n),
        n_images=n,
        epsilon=float(curves.epsilons[at]),
        sigma=curves.sigma,
        p_value=None if look.p_values is None else float(look.p_values[row]),
        flagged=flagged,
        e50=_finite(look.e50[row]),
        noise_sigma50=_finite(sigma50),
        source_image=source,
        reference=float(look.stands.reference[row]),
        found_by=found_by,
        control_rate=float(obstacles.control_rates(curves)[row]),
        control_epsilon=float(curves.epsilons[curves.control_at[row]]),
        curve=points,
    )


def _finite(budget: float) -> float | None:
    return float(budget) if math.isfinite(budget) else None


def _shares(noise: NoiseCounts) -> NoiseProbe:
    shares: NDArray[np.float64] = noise.moved / np.maximum(noise.n_images, 1)
    return NoiseProbe(
        sigmas=tuple(float(s) for s in noise.sigmas),
        kept=tuple(float(k) for k in noise.kept),
        top_class=tuple(int(t) for t in shares.argmax(1)),
        top_share=tuple(float(s) for s in shares.max(1)),
    )
