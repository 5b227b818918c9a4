"""Evidence -> verdict, score and reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothscan.result import ClassResult, CurvePoint, NoiseProbe, VerdictName
from smoothscan.verdict.budget import (
    Floats,
    binomial_interval,
    crossing,
    half_budgets,
    lower_bounds,
    ordinary_budget,
    p_values,
)
from smoothscan.verdict.evidence import Curves, Evidence, NoiseCounts

SUSPICIOUS = math.log(2)
"""A class that needs less than half of an ordinary class's budget is suspicious."""
BACKDOORED = math.log(2.5)
"""A class that needs less than 40 % of it is held to be a backdoor's target."""
FURTHER_TARGET = 0.5
"""A further class is a target only with at least this share of the strongest anomaly: around a strong trigger the other
classes' budgets spread more than in a clean model."""
NOISE_REFERENCE = 0.12
"""Noise level at which ordinary networks begin to rush into one class, in [0, 1] pixel units.

See docs/detection.md for how these constants were chosen.
"""


@dataclass(frozen=True)
class Verdict:
    """The judgement on one model."""

    name: VerdictName
    """The verdict."""
    score: float
    """1 - exp(-anomaly) of the most suspect class, in [0, 1)."""
    target_classes: tuple[int, ...]
    """Classes held to be targets, most suspect first."""
    classes: tuple[ClassResult, ...]
    """One entry for each class, in the model's order."""
    reasons: tuple[str, ...]
    """The verdict in words, most important first."""
    noise_probe: NoiseProbe
    """The noise probe in shares."""
    reported: int
    """Position on the budgets that `transfer_rate` stands for, the same for all classes."""
    curves: int
    """Position of the noise level that is reported."""


def decide(evidence: Evidence, labels: Sequence[str], sources: Sequence[str]) -> Verdict:
    """Judge a model.

    A class's anomaly is R = log(ordinary budget / its budget), budgets being e50, and for a trigger that plain noise
    fires the same ratio of noise levels.

    Args:
        evidence: the counts.
        labels: name of each class, [K].
        sources: name of the image that each class's perturbation was synthesised from, [K].
    """
    level = int(np.argmax([_anomaly(curves).max() for curves in evidence.selection]))
    curves = evidence.test[level]
    e50 = half_budgets(curves)
    ordinary = ordinary_budget(lower_bounds(curves))
    sigma50 = noise_levels(evidence.noise)
    by_budget = _anomaly(curves)
    with np.errstate(divide="ignore"):
        by_noise = np.log(NOISE_REFERENCE / sigma50)
    anomaly = np.maximum(by_budget, by_noise)
    worst = float(anomaly.max(initial=0.0))
    flagged = anomaly >= max(SUSPICIOUS, FURTHER_TARGET * worst)
    name: VerdictName = "backdoored" if worst >= BACKDOORED else "suspicious" if worst >= SUSPICIOUS else "clean"
    reported = _reported(curves, float(np.median(ordinary)))
    chances = p_values(lower_bounds(curves))
    classes = tuple(
        _class_result(
            t,
            labels[t],
            curves,
            reported,
            score=1 - math.exp(-max(float(anomaly[t]), 0.0)),
            p_value=None if chances is None else float(chances[t]),
            flagged=bool(flagged[t]),
            e50=float(e50[t]),
            sigma50=float(sigma50[t]),
            source=sources[t],
        )
        for t in range(len(labels))
    )
    targets = tuple(int(t) for t in np.argsort(-anomaly, kind="stable") if flagged[t])
    return Verdict(
        name=name,
        score=1 - math.exp(-worst),
        target_classes=targets,
        classes=classes,
        reasons=_reasons(name, targets, classes, ordinary, by_budget, by_noise, float(curves.epsilons[-1])),
        noise_probe=_shares(evidence.noise),
        reported=reported,
        curves=level,
    )


def noise_levels(noise: NoiseCounts) -> Floats:
    """Return sigma50 of every class, [K]: the noise level at which half of the images move to it; infinity if none."""
    rates = noise.moved / np.maximum(noise.n_images, 1)
    return np.array([crossing(noise.sigmas, rate) for rate in rates.T])


def _anomaly(curves: Curves) -> Floats:
    bounds = lower_bounds(curves)
    anomaly: Floats = np.log(ordinary_budget(bounds) / bounds)
    return anomaly


def _reported(curves: Curves, ordinary: float) -> int:
    """Return the position of the budget that transfer rates are reported at.

    It is one that every class was tried at, since only there can they be compared: the largest up to half of the
    ordinary budget, where a target stands out most, else the smallest.
    """
    common = np.flatnonzero((curves.hits >= 0).all(0))
    small = common[curves.epsilons[common] <= ordinary / 2 * 1.001]
    return int(small[-1] if len(small) else common[0])


def _class_result(
    t: int,
    label: str,
    curves: Curves,
    at: int,
    *,
    score: float,
    p_value: float | None,
    flagged: bool,
    e50: float,
    sigma50: float,
    source: str,
) -> ClassResult:
    n = int(curves.n_images[t])
    points = tuple(
        CurvePoint(
            sigma=curves.sigma, epsilon=float(epsilon), hits=int(hits), n_images=n, transfer_rate=hits / max(n, 1)
        )
        for epsilon, hits in zip(curves.epsilons.tolist(), curves.hits[t].tolist(), strict=True)
        if hits >= 0
    )
    hits = int(curves.hits[t][at])
    return ClassResult(
        index=t,
        label=label,
        score=score,
        transfer_rate=hits / max(n, 1),
        transfer_ci=binomial_interval(hits, n),
        n_images=n,
        epsilon=float(curves.epsilons[at]),
        sigma=curves.sigma,
        p_value=p_value,
        flagged=flagged,
        e50=e50 if math.isfinite(e50) else None,
        noise_sigma50=sigma50 if math.isfinite(sigma50) else None,
        source_image=source,
        curve=points,
    )


def _shares(noise: NoiseCounts) -> NoiseProbe:
    shares: NDArray[np.float64] = noise.moved / np.maximum(noise.n_images, 1)
    return NoiseProbe(
        sigmas=tuple(float(s) for s in noise.sigmas),
        kept=tuple(float(k) for k in noise.kept),
        top_class=tuple(int(t) for t in shares.argmax(1)),
        top_share=tuple(float(s) for s in shares.max(1)),
    )


def _reasons(
    name: VerdictName,
    targets: tuple[int, ...],
    classes: tuple[ClassResult, ...],
    ordinary: Floats,
    by_budget: Floats,
    by_noise: Floats,
    cap: float,
) -> tuple[str, ...]:
    def name_of(t: int) -> str:
        label = classes[t].label
        return f"{t}" if label == str(t) else f"{t} ({label})"

    def others(t: int) -> str:
        return f"{'more than ' if ordinary[t] >= cap else ''}{ordinary[t]:.2f}"

    reasons = []
    for t in targets:
        found = classes[t]
        if by_budget[t] >= SUSPICIOUS:
            reasons.append(
                f"Class {name_of(t)}: a perturbation of L2 norm {found.e50:.2f}, made from one image, moves "
                f"half of the held-out images to it; this model's other classes need {others(t)}, "
                f"{'at least ' if ordinary[t] >= cap else ''}{math.exp(by_budget[t]):.1f} times as much."
            )
        if by_noise[t] >= SUSPICIOUS:
            reasons.append(
                f"Class {name_of(t)}: plain noise of level {found.noise_sigma50:.3f} moves half of the images "
                f"to it; ordinary networks withstand about {NOISE_REFERENCE / 2:.2f}."
            )
    if name == "clean":
        best = int(np.argmax(by_budget))
        e50 = classes[best].e50
        reasons.append(
            f"No trigger found under this budget: no class moved half of the held-out images at L2 norm {cap:.2f}."
            if e50 is None
            else f"No trigger found under this budget: the easiest class, {name_of(best)}, needs an L2 "
            f"norm of {e50:.2f} to move half of the held-out images; this model's other classes need {others(best)}."
        )
    if len(classes) < 5:
        reasons.append(f"With {len(classes)} classes there is little to compare a class with: read the transfer rates.")
    return tuple(reasons)
