"""The evidence for one class in pictures: its trigger, where it sits, and what it does to other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from smoothscan.exhibits import ClassExhibit, HeldOutExample, Image
from smoothscan.result import ClassResult, PairResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.pictures import SMALL, amplification, data_uri, of_trigger
from smoothscan.sinks.report import where
from smoothscan.sinks.report.bars import Bar
from smoothscan.sinks.report.null_band import NullBand
from smoothscan.sinks.text import count, number, percent, plain
from smoothscan.vocabulary import SPACES

MAX_CARDS = 10
"""Classes that are shown with pictures; the highest-ranked of the flagged ones."""
MAX_EXAMPLES = 6
"""Held-out images that are shown for a class."""

_LARGE, _MEDIUM = 224, 128  # longest side of the pictures in pixels
_SHOWN = 176  # display size of a small picture in CSS pixels


@dataclass(frozen=True)
class Picture:
    """One picture, ready for an `img` element."""

    uri: Markup
    """Base64 only, so safe as it is."""
    width: int
    height: int
    pixelated: bool
    alt: str


@dataclass(frozen=True)
class Box:
    """What is outlined in a picture, in percent of its width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Example:
    """One image before and after; the pictures are None where the user's images are left out."""

    name: str
    clean: Picture | None
    perturbed: Picture | None
    before: str
    after: str
    moved: bool


@dataclass(frozen=True)
class Card:
    """The evidence for one class, or for one pair of source and target class."""

    key: str
    """Part of the ids of its elements."""
    title: str
    remark: str
    flagged: bool
    thing: str
    """What the trigger is."""
    text: str
    bars: tuple[Bar, ...] = ()
    trigger: Picture | None = None
    trigger_text: str = ""
    place: Picture | None = None
    place_text: str = ""
    box: Box | None = None
    synthesis: Example | None = None
    examples: tuple[Example, ...] = ()


def class_card(
    c: ClassResult, result: ScanResult, exhibit: ClassExhibit | None, band: NullBand | None, redact: bool
) -> Card:
    """Return the evidence for a class.

    Args:
        c: the class.
        result: the scan.
        exhibit: its pictures; None where none were kept.
        band: the model's ordinary classes.
        redact: leave out every picture that shows the user's images.
    """
    card = Card(
        key=f"class-{c.index}",
        title=c.label,
        remark=f"class {c.index}",
        flagged=c.flagged,
        thing=SPACES[result.space].thing,
        text=words.found(c, result) if c.flagged else words.not_suspect(c, result),
        bars=_bars(c, result, band),
    )
    return card if exhibit is None else _illustrated(card, c.index, result, exhibit, redact)


def pair_card(pair: PairResult, result: ScanResult, exhibit: ClassExhibit, redact: bool) -> Card:
    """Return the evidence for a flagged pair of source and target class; see `class_card`."""
    source, target = words.label(pair.source, result), words.label(pair.target, result)
    told = f"{pair.hits} of {count(pair.n_images, 'image')} of {source}"
    card = Card(
        key=f"pair-{pair.source}-{pair.target}",
        title=f"{source} \u2192 {target}",
        remark=f"class {pair.source} to class {pair.target}",
        flagged=True,
        thing=SPACES["patch"].thing,
        text=words.pair(pair, result),
        bars=(Bar("With this patch", pair.transfer_rate, pair.transfer_ci, told, "flagged"),),
    )
    return _illustrated(card, pair.target, result, exhibit, redact)


def _bars(c: ClassResult, result: ScanResult, band: NullBand | None) -> tuple[Bar, ...]:
    """Return what the trigger does beside what it is to be compared with."""
    space = SPACES[result.space]
    hits = round(c.transfer_rate * c.n_images)
    own = f"{hits} of {count(c.n_images, 'held-out image')}, at {space.of(c.epsilon)}"
    bars = [Bar(f"With this {space.thing}", c.transfer_rate, c.transfer_ci, own, "flagged" if c.flagged else "plain")]
    if c.control_rate is not None and c.control_epsilon is not None:
        at, there = space.of(c.control_epsilon), words.at_control(c)
        if there is not None and there.epsilon != c.epsilon:  # else the control is compared with a larger trigger
            told = f"{there.hits} of {count(there.n_images, 'held-out image')}, at {at}"
            smaller = f"With this {space.thing}, as large as its control"
            bars.append(Bar(smaller, there.transfer_rate, None, told, bars[0].kind))
        told = f"the control, on the same images, at {at}"
        bars.append(Bar(f"With {space.control}", c.control_rate, None, told, "ordinary"))
    level = band.at(c.epsilon) if band else None
    if band and level:
        bars.append(
            Bar(
                "Other classes with theirs",
                level.median,
                (level.lowest, level.highest),
                f"median of {band.n_classes} classes; the line spans all of them, up to {percent(level.highest)}",
                "ordinary",
            )
        )
    return tuple(bars)


def _illustrated(card: Card, index: int, result: ScanResult, exhibit: ClassExhibit, redact: bool) -> Card:
    names = {c.index: c.label for c in result.classes}
    delta = exhibit.perturbation
    at = where.place(delta)
    box = None
    if at is not None and at.confined:
        height, width = delta.shape[-2:]
        across, down = 100 / width, 100 / height
        box = Box(at.left * across, at.top * down, at.width * across, at.height * down)
    found_in = HeldOutExample(
        exhibit.synthesis_name,
        exhibit.synthesis_image,
        (exhibit.synthesis_image + delta).clip(0, 1),
        exhibit.synthesis_prediction,
        exhibit.perturbed_prediction,
    )
    changed = f"{plain(exhibit.synthesis_name, 60)} in grey; in orange what the {card.thing} changes"
    return replace(
        card,
        trigger=_picture(of_trigger(exhibit), f"Recovered {card.thing} for {card.title}", _LARGE),
        trigger_text=_trigger_text(exhibit),
        place=None if redact else _picture(where.energy_map(exhibit.synthesis_image, delta), changed, _LARGE),
        place_text=at.words() if at else "",
        box=box,
        synthesis=None if redact else _example(found_in, index, names, card.thing, _LARGE, redact),
        examples=tuple(_example(e, index, names, card.thing, _MEDIUM, redact) for e in exhibit.examples[:MAX_EXAMPLES]),
    )


def _example(
    e: HeldOutExample, index: int, names: Mapping[int, str], thing: str, longest: int, redact: bool
) -> Example:
    before, after = (names.get(i, str(i)) for i in (e.clean_prediction, e.perturbed_prediction))
    clean = perturbed = None
    if not redact:
        clean = _picture(e.clean, f"{plain(e.name, 60)} as it is, predicted {before}", longest)
        perturbed = _picture(e.perturbed, f"{plain(e.name, 60)} with the {thing}, predicted {after}", longest)
    return Example(e.name, clean, perturbed, before, after, moved=e.perturbed_prediction == index)


def _trigger_text(exhibit: ClassExhibit) -> str:
    """Return what stands under the picture of a trigger."""
    if exhibit.picture is not None:
        return exhibit.description
    delta = exhibit.perturbation
    factor = amplification(delta)
    largest = number(255 * 0.5 / factor, 2) if delta.any() else "0"
    return f"amplified \u00d7{number(factor, 2)}: mid-grey is no change, the largest is {largest} of 255"


def _picture(image: Image, alt: str, longest: int) -> Picture:
    height, width = image.shape[-2:]
    enlarge = _SHOWN / max(height, width)
    return Picture(
        uri=Markup(data_uri(image, longest)),  # noqa: S704  (base64)
        width=max(1, round(width * enlarge)),
        height=max(1, round(height * enlarge)),
        pixelated=max(height, width) <= SMALL,
        alt=alt,
    )


def apart(c: ClassResult, band: NullBand | None, result: ScanResult, points: Sequence[tuple[float, float]]) -> str:
    """Return how far a class lies above the ordinary ones where the distance is largest; empty without a comparison.

    Args:
        c: the class.
        band: the ordinary classes.
        result: the scan.
        points: budgets and transfer rates of the class.
    """
    compared = [(rate, at) for epsilon, rate in points if band and (at := band.at(epsilon))]
    if band is None or not compared:
        return ""
    rate, at = max(compared, key=lambda pair: pair[0] - pair[1].highest)
    return (
        f"At {SPACES[result.space].of(at.epsilon)}, “{c.label}” draws in {percent(rate)} of the images; of the "
        f"{band.n_classes} other classes the median draws in {percent(at.median)} at most, and the highest "
        f"{percent(at.highest)}."
    )
