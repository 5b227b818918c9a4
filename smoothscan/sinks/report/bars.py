"""Bars with their 95 % intervals: in the table of classes, in the evidence, and over all classes of a large model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from smoothscan.result import ClassResult
from smoothscan.sinks.text import percent


@dataclass(frozen=True)
class Bar:
    """One labelled bar of the evidence."""

    label: str
    rate: float
    """Share of the images, in [0, 1]."""
    interval: tuple[float, float] | None
    """What the whisker spans, in [0, 1]; None for none."""
    remark: str
    kind: Literal["flagged", "plain", "ordinary"]


def bar(rate: float, interval: tuple[float, float] | None) -> Markup:
    """Return one bar of a share in [0, 1] with its whisker; text beside it says the same."""
    whisker = Markup("")
    if interval is not None:
        low, high = (f"{100 * bound:.1f}%" for bound in interval)
        line = Markup('<line x1="{0}" x2="{1}" y1="8" y2="8"/>').format(low, high)
        ends = Markup('<path d="M0 4v8"/>')
        stops = Markup('<svg x="{0}" overflow="visible">{2}</svg><svg x="{1}" overflow="visible">{2}</svg>')
        whisker = Markup('<g class="halo">{0}</g><g class="whisker">{0}{1}</g>').format(
            line, stops.format(low, high, ends)
        )
    return Markup(
        '<svg class="bar" width="100%" height="16" aria-hidden="true" focusable="false">'
        '<rect class="track" y="2" width="100%" height="12" rx="2"/>'
        '<rect class="fill" y="2" height="12" rx="2" width="{}%"/>{}</svg>'
    ).format(f"{100 * rate:.1f}", whisker)


def strip(classes: Sequence[ClassResult]) -> Markup:
    """Return all classes of a large model side by side, in the order given: transfer as height, flagged ones apart.

    Args:
        classes: the classes, most suspect first.
    """

    def columns(chosen: Sequence[tuple[int, float]]) -> str:
        return "".join(f"M{i} 100V{100 * (1 - rate):.1f}h1V100z" for i, rate in chosen)

    rates = [(i, c.transfer_rate) for i, c in enumerate(classes)]
    # A column of a thousand is thinner than a pixel of a telephone: flagged ones are drawn wider, and never the least.
    wide = max(1.0, len(classes) / 120)
    flagged = "".join(
        f"M{i} 100V{min(97, 100 * (1 - c.transfer_rate)):.1f}h{wide:.1f}V100z"
        for i, c in enumerate(classes)
        if c.flagged
    )
    ordinary = columns([at for at, c in zip(rates, classes, strict=True) if not c.flagged])
    name = (
        f"Transfer of all {len(classes):,} classes, most suspect first: from {percent(max(r for _, r in rates))} down "
        f"to {percent(min(r for _, r in rates))}. The numbers are in the table below."
    )
    return Markup(
        '<svg class="strip" viewBox="0 0 {} 100" preserveAspectRatio="none" width="100%" height="120" role="img" '
        'aria-label="{}"><path class="grid-line" d="M0 0H{n}M0 50H{n}M0 100H{n}"/><path class="ordinary" d="{}"/>'
        '<path class="matches" d=""/><path class="flagged" d="{}"/><path class="cursor" d=""/></svg>'
    ).format(len(classes), name, ordinary, flagged, n=len(classes))
