"""The verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smoothscan.result import CalibrationUse, ClassResult, PairsResult, VerdictName
from smoothscan.vocabulary import SPACES, SpaceName, probability, share

_LABEL = 100
"""Characters of a label: models name their classes as they like, and the rest of a sentence has to be read as well."""


@dataclass(frozen=True)
class Findings:
    """What the words are about."""

    verdict: VerdictName
    """The verdict."""
    obstacle: str | None
    """What keeps the scan from a verdict, if anything."""
    targets: tuple[int, ...]
    """Classes held to be targets, most suspect first."""
    classes: Mapping[int, ClassResult]
    """The classes that were searched in full, by index."""
    n_classes: int
    """Number of all classes."""
    n_synthesis: int
    """Images that each class's perturbation was made from."""
    space: SpaceName
    """Trigger space that the classes' budgets are about."""
    level: float
    """Share of the held-out images at which a class counts as transferring there."""
    largest: float
    """Largest budget that was searched there."""
    searched: tuple[SpaceName, ...]
    """All trigger spaces that were searched."""
    noise_reference: float
    """Noise level that ordinary networks withstand."""
    calibration: CalibrationUse | None
    """What the calibration said, if there is one."""
    denoised: bool = False
    """Whether the search in that space went through a denoiser."""
    pairs: PairsResult | None = None
    """Pairs of source and target class, if they were searched."""
    remarks: tuple[str, ...] = ()
    """What else keeps models from being clean, whatever the verdict on this one is."""


def reasons(found: Findings) -> tuple[str, ...]:
    """Return the reasons for a verdict, most important first."""
    ways = {"noise": _noise, "budget": _budget}
    words = [ways[way](found, t) for t in found.targets if (way := found.classes[t].found_by) in ways]
    words += _pairs(found)
    if found.verdict == "inconclusive":
        words.append(str(found.obstacle))
    elif not found.targets:
        words.append(_nothing_found(found))
    words += [remark for remark in found.remarks if remark not in words]
    if found.calibration:
        words.append(_calibrated(found.calibration))
    return tuple(words)


def _name(found: Findings, t: int) -> str:
    label = found.classes[t].label
    short = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
    return f"{t}" if label == str(t) else f"{t} ({short})"


def _ordinary(found: Findings, c: ClassResult) -> str:
    needed = c.reference or found.largest
    return f"{'more than ' if needed >= found.largest else ''}{SPACES[found.space].of(needed)}"


def _budget(found: Findings, t: int) -> str:
    here = found.classes[t]
    needed, ordinary = here.e50 or found.largest, here.reference or found.largest
    images = "one image" if found.n_synthesis == 1 else f"{found.n_synthesis} images"
    through = " through the denoiser" if found.denoised else ""
    at_least = "at least " if ordinary >= found.largest else ""
    words = SPACES[found.space]
    chance = "" if here.p_value is None else f" Chance among ordinary classes: {probability(here.p_value)}."
    return (
        f"Class {_name(found, t)}: a {words.thing} of {words.of(needed)}, made from {images}{through}, moves "
        f"{share(found.level)} of the held-out images to it. Ordinary classes of this model need "
        f"{_ordinary(found, here)}, {at_least}{ordinary / needed:.1f} times as much."
        f"{_control(found, here)}{chance}"
    )


def _control(found: Findings, here: ClassResult) -> str:
    """Return what as large a change without the trigger's pattern does; empty where that was not tried."""
    if here.control_rate is None or here.control_epsilon is None:
        return ""
    words = SPACES[found.space]
    return f" At {words.of(here.control_epsilon)}, {words.control} moves {here.control_rate:.0%} of the images."


def _noise(found: Findings, t: int) -> str:
    return (
        f"Class {_name(found, t)}: plain noise of level {found.classes[t].noise_sigma50:.3f} moves half of the images "
        f"to it and hardly any elsewhere; ordinary networks withstand about {found.noise_reference:.2f}."
    )


def _pairs(found: Findings) -> list[str]:
    """Tell of pairs of classes that stand out, and of source classes that had too few images."""
    if found.pairs is None:
        return []
    words = [
        f"Images of class {_name(found, pair.source)} alone: {SPACES['patch'].of(pair.epsilon)} move {pair.hits} of "
        f"{pair.n_images} held-out images to class {_name(found, pair.target)}; most pairs of classes need "
        f"more than {found.pairs.epsilons[-1]:.3g}."
        for pair in found.pairs.flagged
    ]
    missing = found.n_classes - len(found.pairs.sources)
    if missing:
        words.append(
            f"Pairs were not searched from {missing} of {found.n_classes} classes: too few of the images "
            "are predicted as those."
        )
    return words


def _nothing_found(found: Findings) -> str:
    best = max(found.classes.values(), key=lambda c: c.score)
    words, part = SPACES[found.space], share(found.level)
    others = [SPACES[name].title for name in found.searched if name != found.space]
    also = f" Nothing stood out more among the other kinds of trigger: {', '.join(others)}." if others else ""
    if best.e50 is None:
        return (
            f"No trigger found under this budget: no class moved {part} of the held-out images with a {words.thing} "
            f"of {words.of(found.largest)}.{also}"
        )
    return (
        f"No trigger found under this budget: the easiest class, {_name(found, best.index)}, needs a {words.thing} of "
        f"{words.of(best.e50)} to move {part} of the held-out images; ordinary classes of this model need "
        f"{_ordinary(found, best)}.{also}"
    )


def _calibrated(used: CalibrationUse) -> str:
    return (
        f"Against {used.n_models} clean models the p-value is {probability(used.p_value)}; so many models allow none "
        f"below {probability(used.smallest_p)}."
    )
