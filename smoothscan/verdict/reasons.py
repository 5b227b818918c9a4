"""The verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from smoothscan.result import CalibrationUse, ClassResult, VerdictName


@dataclass(frozen=True)
class Findings:
    """What the words are about."""

    verdict: VerdictName
    """The verdict."""
    obstacle: str | None
    """What keeps the scan from a verdict, if anything."""
    targets: tuple[int, ...]
    """Classes held to be targets, most suspect first."""
    classes: Sequence[ClassResult]
    """All classes."""
    n_synthesis: int
    """Images that each class's perturbation was made from."""
    largest: float
    """Largest budget that was searched."""
    noise_reference: float
    """Noise level that ordinary networks withstand."""
    calibration: CalibrationUse | None
    """What the calibration said, if there is one."""


def reasons(found: Findings) -> tuple[str, ...]:
    """Return the reasons for a verdict, most important first."""
    words = [_noise(found, t) if found.classes[t].found_by == "noise" else _budget(found, t) for t in found.targets]
    if found.verdict == "inconclusive":
        words.append(str(found.obstacle))
    elif not found.targets:
        words.append(_nothing_found(found))
    if found.calibration:
        words.append(_calibrated(found.calibration))
    return tuple(words)


def _name(found: Findings, t: int) -> str:
    label = found.classes[t].label
    return f"{t}" if label == str(t) else f"{t} ({label})"


def _ordinary(found: Findings, c: ClassResult) -> str:
    needed = c.reference or found.largest
    return f"{'more than ' if needed >= found.largest else ''}{needed:.2f}"


def _budget(found: Findings, t: int) -> str:
    here = found.classes[t]
    needed, ordinary = here.e50 or found.largest, here.reference or found.largest
    images = "one image" if found.n_synthesis == 1 else f"{found.n_synthesis} images"
    at_least = "at least " if ordinary >= found.largest else ""
    chance = "" if here.p_value is None else f" Chance among ordinary classes: {_p(here.p_value)}."
    return (
        f"Class {_name(found, t)}: a perturbation of L2 norm {needed:.2f}, made from {images}, moves half of the "
        f"held-out images to it. Ordinary classes of this model need {_ordinary(found, here)}, {at_least}"
        f"{ordinary / needed:.1f} times as much; a shuffled copy of the perturbation moves "
        f"{here.control_rate or 0:.0%} of the images.{chance}"
    )


def _noise(found: Findings, t: int) -> str:
    return (
        f"Class {_name(found, t)}: plain noise of level {found.classes[t].noise_sigma50:.3f} moves half of the images "
        f"to it and hardly any elsewhere; ordinary networks withstand about {found.noise_reference:.2f}."
    )


def _nothing_found(found: Findings) -> str:
    best = max(found.classes, key=lambda c: c.score)
    if best.e50 is None:
        return (
            "No trigger found under this budget: no class moved half of the held-out images at an L2 norm of "
            f"{found.largest:.2f}."
        )
    return (
        f"No trigger found under this budget: the easiest class, {_name(found, best.index)}, needs an L2 norm of "
        f"{best.e50:.2f} to move half of the held-out images; ordinary classes of this model need "
        f"{_ordinary(found, best)}."
    )


def _calibrated(used: CalibrationUse) -> str:
    return (
        f"Against {used.n_models} clean models the p-value is {_p(used.p_value)}; so many models allow none below "
        f"{_p(used.smallest_p)}."
    )


def _p(p: float) -> str:
    return "less than 0.0001" if p < 1e-4 else f"{p:.{max(2, 1 - math.floor(math.log10(p)))}f}"
