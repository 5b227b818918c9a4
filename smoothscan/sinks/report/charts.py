"""The report's charts of lines, drawn as HTML and SVG without any library.

Horizontal positions are percentages and vertical ones pixels, so that a chart fills any width while its text keeps its
size; only the lines are stretched. Colours and sizes are in report.css. Everything in a chart is in a table as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from smoothscan.result import ClassResult, NoiseProbe
from smoothscan.sinks.report.null_band import NullBand, curve
from smoothscan.sinks.text import number, percent, plain, shorten
from smoothscan.vocabulary import SpaceWords

FEW = 12
"""Classes up to which each has a line of its own; among more, the band of the ordinary ones says it better."""
LEADING = 3
"""Ordinary classes that have a line where there are more."""
MAX_FLAGGED = 30
"""Flagged classes that have a line at most; the highest-ranked ones."""

_TOP, _HEIGHT, _AXIS = 12, 264, 40
_SIDE = 3.0  # percent of the width kept free on either side of the data
_LABEL_GAP = 15.0
_MAX_LABELS = 14  # more have no room
_LABEL_COLUMNS = 14
_T = TypeVar("_T")
_MARKERS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class _Line:
    """One line of a chart."""

    points: tuple[tuple[float, float], ...]
    """(x in percent of the width, share in [0, 1]), ascending in x."""
    titles: tuple[str, ...]
    """What each point says when pointed at."""
    label: str
    kind: str
    """`flagged`, `closest` or `other`: how report.css draws it."""
    marker: str
    labelled: bool


def budget_curves(
    classes: Sequence[ClassResult], closest: int | None, words: SpaceWords, level: float, band: NullBand | None
) -> Markup | None:
    """Return transfer against the budget, with the range of the ordinary classes, and where a class transfers.

    Classes that stand out have a line each, and the others where they are few. A class that was tried at several noise
    levels is shown at the one behind its transfer rate.

    Args:
        classes: the classes, most suspect first.
        closest: class to bring out although it is not flagged.
        words: what the budgets are called.
        level: share of the images at which a class transfers, one of the chart's lines.
        band: the ordinary classes; None where there are too few.

    Returns:
        The chart, or None where fewer than two budgets were tried.
    """
    budgets = sorted({p.epsilon for c in classes for p in curve(c)})
    if len(budgets) < 2:
        return None
    low, high = math.log(budgets[0]), math.log(budgets[-1])

    def x(epsilon: float) -> float:
        return _SIDE + (100 - 2 * _SIDE) * (math.log(epsilon) - low) / (high - low)

    out = [c for c in classes if c.flagged or c.index == closest][:MAX_FLAGGED]
    others = [c for c in classes if not c.flagged and c.index != closest]
    few = len(classes) <= FEW or band is None
    lines: list[_Line] = []
    flagged = 0
    for c in [*out, *others[: FEW if few else LEADING]]:
        points = curve(c)
        if not points:
            continue
        lines.append(
            _Line(
                points=tuple((x(p.epsilon), p.transfer_rate) for p in points),
                titles=tuple(
                    f"{plain(c.label)}: {p.hits} of {p.n_images} images at {words.of(p.epsilon)}" for p in points
                ),
                label=c.label,
                kind="flagged" if c.flagged else "closest" if c.index == closest else "other",
                marker=_MARKERS[flagged % len(_MARKERS)] if c.flagged else "circle",
                labelled=len(lines) < _MAX_LABELS,
            )
        )
        flagged += c.flagged
    ticks = [(x(e), number(e, 2)) for e in _thinned(budgets)]
    name = f"Transfer against {words.axis}: {len(lines)} classes by themselves"
    name += f", and the range of {band.n_classes} ordinary ones." if band else "."
    axis = Markup('<div class="curves" data-budgets="{}">{}</div>')
    return axis.format(
        " ".join(f"{e:g}:{x(e):.2f}" for e in budgets),
        _plot(
            lines,
            ticks,
            f"{words.axis} (logarithmic)",
            "share of held-out images moved",
            f"{name} The numbers are in the tables below.",
            level,
            _areas(band, x) if band else Markup(""),
        ),
    )


def _areas(band: NullBand, x: Callable[[float], float]) -> Markup:
    """Return the range of the ordinary classes, its middle half, and their median."""

    def points(pairs: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{10 * x(epsilon):.1f},{_HEIGHT * (1 - share):.1f}" for epsilon, share in pairs)

    def area(kind: str, low: Sequence[float], high: Sequence[float]) -> Markup:
        there = list(zip(budgets, high, strict=True))
        back = list(zip(budgets, low, strict=True))[::-1]
        return Markup('<polygon class="{}" points="{}"/>').format(kind, points([*there, *back]))

    levels = band.levels
    budgets = [at.epsilon for at in levels]
    return (
        area("null-range", [at.lowest for at in levels], [at.highest for at in levels])
        + area("null-half", [at.lower for at in levels], [at.upper for at in levels])
        + Markup('<polyline class="null-median" points="{}"/>').format(points((at.epsilon, at.median) for at in levels))
    )


def noise_lines(probe: NoiseProbe, labels: Sequence[str]) -> Markup | None:
    """Return how predictions move under plain noise: the share that is kept, and the pull of the commonest class.

    Args:
        probe: what was seen.
        labels: name of the commonest class at each noise level.

    Returns:
        The chart, or None where fewer than two noise levels were tried.
    """
    n = len(probe.sigmas)
    if n < 2:
        return None
    xs = [_SIDE + (100 - 2 * _SIDE) * i / (n - 1) for i in range(n)]
    kept = _Line(
        points=tuple(zip(xs, probe.kept, strict=True)),
        titles=tuple(
            f"{percent(k)} keep their prediction at level {s:g}" for k, s in zip(probe.kept, probe.sigmas, strict=True)
        ),
        label="kept",
        kind="closest",
        marker="circle",
        labelled=True,
    )
    moved = _Line(
        points=tuple(zip(xs, probe.top_share, strict=True)),
        titles=tuple(
            f"{percent(t)} of the others move to {plain(label)} at level {s:g}"
            for t, s, label in zip(probe.top_share, probe.sigmas, labels, strict=True)
        ),
        label="moved",
        kind="noise",
        marker="square",
        labelled=True,
    )
    ticks = _thinned([(x, f"{s:g}") for x, s in zip(xs, probe.sigmas, strict=True)])
    name = "Line chart of how predictions move under plain noise; the numbers are in the table beside it."
    return _plot([kept, moved], ticks, "noise level \u03c3", "share of images", name, None, Markup(""))


def _thinned(ticks: Sequence[_T]) -> Sequence[_T]:
    """Return so many of the ticks that their labels have room on a telephone."""
    step = -(-len(ticks) // 8)
    return ticks[::step]


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _plot(
    lines: Sequence[_Line],
    ticks: Sequence[tuple[float, str]],
    x_title: str,
    y_title: str,
    name: str,
    level: float | None,
    ground: Markup,
) -> Markup:
    """Return a chart of lines on a ground: shares upwards, one of them brought out, labels at the ends of the lines."""
    back_to_front = sorted(lines, key=lambda line: ("other", "noise", "closest", "flagged").index(line.kind))
    height = _TOP + _HEIGHT + _AXIS
    grid = Markup("").join(
        Markup('<line class="{1}" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>').format(
            _y(share), "level" if share == level else "grid"
        )
        for share in sorted({0, 0.25, 0.5, 0.75, 1, *(() if level is None else (level,))})
    )
    shares = Markup("").join(
        Markup('<text x="38" y="{:.1f}" text-anchor="end">{} %</text>').format(_y(share) + 4, round(100 * share))
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    bottom = _TOP + _HEIGHT
    axis = Markup("").join(
        Markup('<line class="tick" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>').format(x, bottom, bottom + 4)
        + Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(x, bottom + 17, text)
        for x, text in ticks
    )
    title = Markup('<text class="axis-title" x="50%" y="{}" text-anchor="middle">{}</text>').format(height - 3, x_title)
    paths = Markup("").join(
        Markup('<polyline class="line {}" points="{}"/>').format(
            line.kind, " ".join(f"{10 * x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in line.points)
        )
        for line in back_to_front
    )
    stretched = Markup(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 1000 {}" preserveAspectRatio="none">{}</svg>'
    ).format(_TOP, _HEIGHT, _HEIGHT, ground + paths)
    markers = Markup("").join(_markers(line) for line in back_to_front)
    leaders, labels = _end_labels([line for line in lines if line.labelled])
    return Markup(
        '<div class="plot" role="img" aria-label="{name}"><div class="plot-y">{y_title}</div>'
        '<svg class="plot-scale" width="42" height="{height}">{shares}</svg>'
        '<svg class="plot-area" width="100%" height="{height}">{grid}{axis}{title}{leaders}{stretched}{markers}</svg>'
        '<svg class="plot-labels" height="{height}">{labels}</svg></div>'
    ).format(
        name=name,
        y_title=y_title,
        height=height,
        shares=shares,
        grid=grid,
        axis=axis,
        title=title,
        leaders=leaders,
        stretched=stretched,
        markers=markers,
        labels=labels,
    )


def _markers(line: _Line) -> Markup:
    """Return the points of a line; each tells its numbers when pointed at."""
    return Markup("").join(
        Markup('<svg class="marker {}" x="{:.2f}%" y="{:.1f}" overflow="visible">{}<title>{}</title></svg>').format(
            line.kind, x, _y(y), _shape(line), title
        )
        for (x, y), title in zip(line.points, line.titles, strict=True)
    )


def _shape(line: _Line) -> Markup:
    if line.kind == "other":
        return Markup('<circle r="2.5"/>')
    shapes = {
        "circle": '<circle r="4.5"/>',
        "square": '<rect x="-4" y="-4" width="8" height="8"/>',
        "diamond": '<path d="M0-5.5 5.5 0 0 5.5-5.5 0z"/>',
        "triangle": '<path d="M0-5.5 5 4-5 4z"/>',
    }
    return Markup(shapes[line.marker])  # noqa: S704  (one of the four above)


def _end_labels(lines: Sequence[_Line]) -> tuple[Markup, Markup]:
    """Return the leaders inside the plot and the labels beside it, moved apart so that none covers another."""
    ordered = sorted(lines, key=lambda line: -line.points[-1][1])
    ends = [_y(line.points[-1][1]) for line in ordered]
    leaders, labels = [], []
    for line, end, y in zip(ordered, ends, spread(ends, _LABEL_GAP, _TOP, _TOP + _HEIGHT), strict=True):
        leaders.append(
            Markup('<line class="leader" x1="{:.2f}%" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(
                line.points[-1][0], end, end
            )
        )
        labels.append(
            Markup(
                '<line class="leader" x1="0" x2="10" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="{}" x="14" y="{:.1f}">{}<title>{}</title></text>'
            ).format(end, y, line.kind, y + 4, shorten(line.label, _LABEL_COLUMNS), plain(line.label))
        )
    return Markup("").join(leaders), Markup("").join(labels)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, at least `gap` apart and within `low` and `high`.

    Args:
        wanted: ascending positions.
        gap: smallest distance; the positions must have room, (n - 1) * gap <= high - low.
        low: smallest position.
        high: largest position.
    """
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, low, placed[-1] + gap if placed else low))
    limit = high
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed
