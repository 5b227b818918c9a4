"""How a verdict came about, for whoever debugs a false alarm: what decided, how sure that is, and what would change it.

Everything here follows from the result alone, so that it can be told of a stored one as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from smoothscan.result import ClassResult, PairResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.explained_changes import changes
from smoothscan.sinks.text import count, number, percent, probability, shorten
from smoothscan.verdict.calibration import ALPHA
from smoothscan.verdict.decision import BACKDOORED, CONCENTRATED, NOISE_REFERENCE, SUSPICIOUS, UNDECIDED
from smoothscan.verdict.looks import SCALES
from smoothscan.verdict.null import MIN_CLASSES
from smoothscan.vocabulary import SPACES, share, titles

_LABEL = 60  # columns
_CLOSE = 0.1
"""Distance of R from a threshold that the noise of another seed may well cross."""
_FRAGILE = 0.03
"""Noise level at which a robust model keeps most of its predictions."""
_FRAGILE_BELOW = 0.5
"""Share of the predictions that a model keeps there which is not fragile."""


@dataclass(frozen=True)
class Section:
    """One part of an explanation."""

    title: str
    """What it is about, as a heading."""
    lines: tuple[str, ...]
    """Sentences, each a point of its own."""


def explain(result: ScanResult) -> tuple[Section, ...]:
    """Return how a verdict came about, in plain language; labels in it may be anything.

    Args:
        result: the scan, of any status.
    """
    result = _with_short_labels(result)
    best = _decisive(result)
    parts = [
        ("What decided", _decided(result, best)),
        ("What it was measured against", iter(()) if best is None else _measured(result, best)),
        ("How sure that is", iter(()) if best is None else _sure(result, best)),
        ("What speaks against it", _against(result, best)),
        ("What keeps the scan from calling the model clean", _in_the_way(result)),
        ("What would change it", changes(result)),
    ]
    found = [Section(title, tuple(line.replace("\u00a0", " ") for line in lines)) for title, lines in parts]
    return tuple(section for section in found if section.lines)


def _with_short_labels(result: ScanResult) -> ScanResult:
    """Return a result whose labels leave room for what is said of them."""
    classes = tuple(c.model_copy(update={"label": shorten(c.label, _LABEL)}) for c in result.classes)
    return result.model_copy(update={"classes": classes})


def _decisive(result: ScanResult) -> ClassResult | None:
    """Return the class that the verdict hangs on: the first target, else the one that came closest."""
    by_index = {c.index: c for c in result.classes}
    first = next((by_index[t] for t in result.target_classes if t in by_index), None)
    return first or max(result.classes, key=lambda c: (c.score, -c.index), default=None)


def _name(index: int, result: ScanResult) -> str:
    label = words.label(index, result)
    return f"class {index}" if label == str(index) else f"class {index} (“{label}”)"


def _decided(result: ScanResult, best: ClassResult | None) -> Iterator[str]:
    if result.status != "completed" or result.error is not None:
        yield (result.error and result.error.message) or "The scan ended early, so nothing was measured."
        yield "That is about the scan, not about the model: it says nothing for or against it."
        return
    if best is None:
        yield "No class was examined, so nothing was measured."
        return
    who, kind = _name(best.index, result), SPACES[result.space]
    if best.found_by == "noise" and best.noise_sigma50 is not None:
        yield (
            f"Plain noise decided: noise of level {number(best.noise_sigma50, 2)} alone moves half of the images to "
            f"{who}, and hardly any elsewhere. Ordinary networks withstand about {NOISE_REFERENCE / 2:g}, and scatter "
            "their predictions when they give way."
        )
    elif (pair := words.pair_of(best, result)) is not None:
        yield f"The search over pairs of source and target class decided. {words.pair(pair, result)}"
    else:
        decided = "decided" if best.flagged else "came closest to a flag"
        yield f"The search for triggers of the kind “{kind.title}” {decided}, with {who}."
        yield words.compared(best, result)
    if not best.flagged:
        unjudged = {"no-answer", "no-grip", "no-null"} & set(result.obstacles)
        yield "The scan cannot judge that, and flags no class." if unjudged else "That is not enough for a flag."
    others = [t for t in result.target_classes if t != best.index]
    if others:
        named = ", ".join(_name(t, result) for t in others[:5]) + (", ..." if len(others) > 5 else "")
        yield f"Flagged as well, since they lie apart from the ordinary classes, too: {named}."


def _measured(result: ScanResult, best: ClassResult) -> Iterator[str]:
    """Yield R against its threshold, and what every kind of trigger gave."""
    if best.found_by == "noise":
        yield (
            f"R is the logarithm of {NOISE_REFERENCE:g} divided by that noise level; it counts where the class draws "
            f"{percent(CONCENTRATED)} of what the noise moves."
        )
    elif best.found_by == "pairs":
        yield "R is the logarithm of how many times fewer pixels the pair needs than this model's ordinary pairs."
    else:
        yield (
            "R is the logarithm of how many times less a class needs than this model's ordinary classes do. What those "
            "need is the geometric mean of the median and the smallest of their budgets. Classes that lie below the "
            "widest gap among the easiest ones do not count as ordinary."
        )
    if result.anomaly is not None:
        yield (
            f"R is {result.anomaly:.2f}. By itself a model is suspicious from {SUSPICIOUS:g} on ("
            f"{math.exp(SUSPICIOUS):.1f} times less), and held to be backdoored from {BACKDOORED:g} on "
            f"({math.exp(BACKDOORED):.1f} times)."
        )
    scale = SCALES[result.space]
    if best.reference is not None and best.found_by in ("budget", None) and result.calibration is None:
        edge = best.reference * math.exp(-SUSPICIOUS / scale)
        scaled = "" if scale == 1 else f" (R of this kind is multiplied by {scale:g}: its budgets are spaced otherwise)"
        yield f"For this class suspicion begins at {SPACES[result.space].of(edge)}{scaled}."
    if result.calibration is not None:
        used = result.calibration
        yield (
            f"A calibration decides here: the model has to be more anomalous than all {used.n_models} clean models "
            f"(the highest R among them is {used.highest_anomaly:.2f}), and its p-value at most {ALPHA:g} or its R at "
            f"least {SUSPICIOUS:g}."
        )
    if len(result.spaces) > 1:
        for each in sorted(result.spaces, key=lambda each: -each.anomaly):
            of = SPACES[each.space].of
            needs = "is reached by no budget tried" if each.e50 is None else f"needs {of(each.e50)}"
            ordinary = f"{'at least ' if each.e50 is None else ''}{of(each.reference)}"
            through = ", through the denoiser" if each.denoised else ""
            yield (
                f"{SPACES[each.space].title}{through}: R {each.anomaly:.2f}; {_name(each.index, result)} {needs} for "
                f"{share(each.level)} of the images, ordinary classes {ordinary}."
            )


def _sure(result: ScanResult, best: ClassResult) -> Iterator[str]:
    """Yield intervals, p-values, and on which images was chosen and measured."""
    pair = words.pair_of(best, result)
    found = best if pair is None else pair
    low, high = found.transfer_ci
    budget = SPACES["patch"].of(pair.epsilon) if pair else SPACES[result.space].of(best.epsilon)
    yield (
        f"At {budget}, {percent(found.transfer_rate)} of {count(found.n_images, 'held-out image')} move; with other "
        f"images of the same kind that share lies between {percent(low)} and {percent(high)} (95 % interval)."
    )
    if result.p_value is not None:
        kinds = f" in any of the {len(result.spaces)} kinds searched" if len(result.spaces) > 1 else ""
        yield (
            f"Among {result.coverage.classes_total:,} ordinary classes the most suspect one stands out as much{kinds} "
            f"with probability {probability(result.p_value)} (p-value of the model as a whole)."
        )
    elif pair is None and result.coverage.classes_total < MIN_CLASSES:
        yield f"There is no p-value: it takes {MIN_CLASSES} classes to tell how much ordinary ones differ."
    if result.calibration is not None:
        yield (
            f"Against the calibration's clean models the p-value is {probability(result.calibration.p_value)}; so many "
            f"models allow none below {probability(result.calibration.smallest_p)}."
        )
    if pair is None:
        yield _fitting(result, best)
    elif result.pairs is not None:
        yield (
            f"The patch was made from {count(result.pairs.synthesis_images, 'image')} of the source class, which are "
            "not among those that are counted."
        )
    if best.control_rate is not None and best.found_by == "budget":
        own = _own_rate(best)
        if best.control_rate < own / 2:
            yield f"It is not the size of the trigger that does it: {_compared(result, best, own)}"


def _fitting(result: ScanResult, best: ClassResult) -> str:
    """Return on which images was chosen, and on which measured."""
    made = f"Its {SPACES[result.space].thing} was made from {best.source_image}, " if best.source_image else ""
    apart = f"{made}which is not among the images that are counted. " if made else ""
    if result.config.get("profile") == "paper" or result.denoiser is not None:
        return (
            f"{apart}Where a kind of trigger was searched more than once (noise levels, with and without denoiser), "
            "one half of the held-out images chose the search and the other half measured it, and the other way round "
            "(cross-fitting): a lucky choice is not counted twice."
        )
    return (
        f"{apart}The noise level ({number(best.sigma, 2)}) was set before anything was searched, so nothing was chosen "
        "on the images that are counted, and no cross-fitting was needed."
    )


def _own_rate(c: ClassResult) -> float:
    """Return what a class's trigger moves at the size of its control."""
    there = words.at_control(c)
    return c.transfer_rate if there is None else there.transfer_rate


def _compared(result: ScanResult, c: ClassResult, own: float) -> str:
    space = SPACES[result.space]
    at = "" if c.control_epsilon is None else f"at {space.of(c.control_epsilon)}, "
    moved = percent(c.control_rate or 0)
    return f"{at}{space.control} moves {moved} of the images, and the trigger itself {percent(own)}."


def _against(result: ScanResult, best: ClassResult | None) -> Iterator[str]:
    """Yield what makes the verdict doubtful, whichever it is."""
    if best is not None and best.flagged:
        yield from _against_a_flag(result, best, words.pair_of(best, result))
    elif best is not None and result.verdict == "clean":
        if result.anomaly is not None and result.anomaly >= UNDECIDED:
            yield f"The model came close: most clean models stay below R {UNDECIDED:g} in most kinds of trigger."
        searched = {result.space, *(each.space for each in result.spaces)}
        if missing := [kind.title for name, kind in SPACES.items() if name not in searched]:
            yield f"Kinds of trigger that were not searched: {'; '.join(missing)}."
    if best is None:
        return
    if best.n_images < words.FEW_IMAGES:
        yield f"{count(best.n_images, 'held-out image')} are few: shares that are counted on them are rough."
    guessed = {} if result.input_spec is None else result.input_spec.sources
    if inferred := sorted(part for part, source in guessed.items() if source.startswith(("inferred", "assumed"))):
        yield (
            f"The scanner had to infer how images are handed to the model ({', '.join(inferred)}). If that is wrong, "
            "the model sees images unlike those that it was trained on, and anything may come out."
        )
    if result.coverage.images_skipped:
        yield f"{count(len(result.coverage.images_skipped), 'file')} in the image folder could not be used."


def _against_a_flag(result: ScanResult, best: ClassResult, pair: PairResult | None) -> Iterator[str]:
    if result.anomaly is not None and result.calibration is None:
        over = result.anomaly - SUSPICIOUS
        if 0 <= over < _CLOSE:
            yield f"R is only {over:.2f} above the threshold; another seed or other images may fall below it."
    if result.p_value is not None and result.p_value > ALPHA:
        yield (
            f"A p-value of {probability(result.p_value)} is not small: of a hundred clean models with as many classes, "
            f"about {max(round(100 * result.p_value), 1)} would have a class that stands out as much."
        )
    if best.control_rate is not None and best.found_by == "budget":
        own = _own_rate(best)
        if best.control_rate >= own / 2:
            yield f"The size of the trigger may do it: {_compared(result, best, own)}"
    level = words.level(result)
    if pair is None and best.found_by == "budget" and best.transfer_ci[0] < level <= best.transfer_rate:
        yield (f"The interval of its transfer reaches below {share(level)} of the images: more images would tell more.")
    probe = result.noise_probe
    levels = zip(probe.sigmas, probe.kept, strict=False) if probe else ()
    kept = next((share for sigma, share in levels if sigma >= _FRAGILE), 1.0)
    if kept < _FRAGILE_BELOW:
        yield (
            f"The model is fragile: noise of level {_FRAGILE:g}, which hardly shows, changes {percent(1 - kept)} of "
            "its predictions."
        )


def _in_the_way(result: ScanResult) -> Iterator[str]:
    for obstacle in result.obstacles:
        yield words.OBSTACLES[obstacle]
    if result.coverage.unfinished:
        yield f"Not searched to the end: {titles(result.coverage.unfinished)}."
    if result.obstacles and result.target_classes:
        yield "The flag does not rest on what these concern, and stands."
