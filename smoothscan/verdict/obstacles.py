"""What keeps a scan from a verdict: the search had no grip on the model, or there is nothing to compare a class with.

Each function returns the reason in words, or None. All bounds are absolute, because they decide where a model cannot be
compared with itself; docs/detection.md says where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smoothscan.config import at_size
from smoothscan.result import ArchitectureFinding
from smoothscan.verdict.budget import HALF, Floats, crossing, lower_bounds
from smoothscan.verdict.evidence import Curves, NoiseCounts
from smoothscan.verdict.null import MIN_CLASSES
from smoothscan.vocabulary import titles

SMALL = 5.0
"""L2 budget at 3x224x224 that moves no ordinary class: the smaller of the paper's two."""
ORDINARY = 14.0
"""L2 budget at 3x224x224 below which the triggers that this search looks for do their work."""
VAST = 40.0
"""L2 budget at 3x224x224 that moves every classifier the search has a grip on, if not to most classes then to some: a
tenth of the range for every value."""
LED = 0.25
"""Share of the classes that it has to lead to there: half of the images, or the one that the perturbation is made from.
Among 1,000 classes ordinary ones withstand that budget (six of 16 gave way in a clean fine-tuned EfficientNet)."""
FRAGILE = 0.02
"""Noise level that every usable classifier withstands, in [0, 1] pixel units."""
WITHHELD = 0.12
"""Noise level up to which a model has to answer at all, in [0, 1] pixel units."""

REMEDY = "A calibration on clean models of the same kind would decide (smoothscan calibrate)."
"""What helps where a model gives no null."""


def no_answer(noise: NoiseCounts) -> str | None:
    """The model says nothing, or anything, as soon as there is noise."""
    level = crossing(noise.sigmas, noise.withheld)
    if level <= WITHHELD:
        return (
            f"The model withholds its answer under noise: from level {level:.3f} on its two largest outputs are equal "
            "for half of the images, so a smoothed classifier cannot be made of it."
        )
    level = crossing(noise.sigmas, 1 - noise.kept)
    if level <= FRAGILE:
        return (
            f"Noise of level {level:.3f}, which is invisible, changes half of the model's predictions, without leading "
            "them to one class. No search that averages over noise can examine such a model."
        )
    return None


def no_grip(curves: Curves, n_values: int) -> str | None:
    """The search did not get anywhere."""
    silent = float(np.median(curves.silent))
    if silent >= HALF:
        return (
            f"The model's gradient was exactly zero in {silent:.0%} of the search steps: its outputs are saturated, "
            "quantised or cut off from the input, so that nothing can be searched for."
        )
    bounds, largest = lower_bounds(curves), float(curves.epsilons[-1])
    own, control = rates_at_control(curves), control_rates(curves)
    led = (curves.reached >= HALF) | ((own >= HALF) & (control < HALF * own))
    withstood = np.median(bounds[curves.sampled]) >= largest and led.mean() < LED
    if curves.space == "l2" and largest >= at_size(VAST, n_values) and withstood:
        return (
            f"Even perturbations of L2 norm {largest:.1f} lead to few classes half of the images, or the one that they "
            "were made from. No ordinary classifier withstands so much: its gradients lead the search astray."
        )
    moving = own > 0  # of classes that nothing moves to, a shuffled copy says nothing
    if curves.space == "l2" and moving.any() and np.median((control - HALF * own)[moving]) >= 0:
        return (
            "Shuffled copies of the perturbations move about as many images as the perturbations themselves: the "
            "model's gradients told the search nothing."
        )
    return None


def no_null(curves: Curves, n_classes: int, n_values: int) -> str | None:
    """The model's classes are no ground to judge one of them by."""
    bounds = lower_bounds(curves)
    if n_classes < MIN_CLASSES:
        return (
            f"With {n_classes} classes there are too few to tell an ordinary one from a target (at least "
            f"{MIN_CLASSES}), and no class is beyond doubt by itself. {REMEDY}"
        )
    if curves.space == "l2" and np.median(bounds[curves.sampled]) <= at_size(SMALL, n_values):
        return (
            f"Most classes move half of the images within an L2 norm of {at_size(SMALL, n_values):.2f}: nearly any "
            f"perturbation leads this model somewhere, so no class stands out. {REMEDY}"
        )
    return None


def hidden(architecture: Sequence[ArchitectureFinding]) -> str | None:
    """There are steps in the model's graph that have no gradient."""
    if not architecture:
        return None
    first, *others = sorted(architecture, key=lambda found: found.kind)  # branches before gates
    more = f", beside {len(others)} other such step{'s' * (len(others) > 1)}" if others else ""
    what = "branches on the image" if first.kind == "branch" else "compares the image instead of computing with it"
    return (
        f"The model's graph {what}: {first.operation} {first.detail}{more}. Such a step has no gradient, so inversion "
        f"cannot follow it, and a backdoor can be made of it (ATLAS {first.technique})."
    )


def unfinished(left_out: Sequence[str]) -> str | None:
    """The time budget ended too early."""
    if not left_out:
        return None
    return (
        "The time budget ended before the search for every kind of trigger did; not searched to the end: "
        f"{titles(left_out)}."
    )


def unmoved(curves: Curves, n_values: int) -> bool:
    """Tell whether no class moves at budgets at which triggers of this space do their work."""
    least = at_size(ORDINARY, n_values) if curves.space == "l2" else float(curves.epsilons[-1])
    return bool((lower_bounds(curves) >= least).all())


def control_rates(curves: Curves) -> Floats:
    """Return the transfer rates of the shuffled perturbations, in [0, 1], [E]."""
    rates: Floats = curves.control / np.maximum(curves.n_images.sum(0), 1)
    return rates


def rates_at_control(curves: Curves) -> Floats:
    """Return the transfer rates of the perturbations that were shuffled, in [0, 1], [E]."""
    rates: Floats = curves.rates[np.arange(len(curves.control)), curves.control_at]
    return rates
