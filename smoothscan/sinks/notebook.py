"""What a notebook shows of a result: verdict, numbers, classes, the curve, pictures, and what was not examined.

One block without script, style sheet or class names, so that it neither leaks into the notebook nor takes on its rules;
colours are those of the text around it, which is why it is as readable in the dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from smoothscan.exhibits import Exhibits, Image
from smoothscan.result import ClassResult, ScanResult
from smoothscan.shown import ShownPicture
from smoothscan.sinks import words
from smoothscan.sinks.page import render_fragment
from smoothscan.sinks.pictures import SMALL, data_uri, of_trigger
from smoothscan.sinks.ranking import ranked
from smoothscan.sinks.text import count, duration, moment, number, percent, shorten
from smoothscan.vocabulary import SPACES

ROWS = 8
"""Classes in the table; flagged ones first."""
PICTURED = 2
"""Classes that there are pictures of."""
EXAMPLES = 3
"""Held-out images with the trigger, for each of them."""
REASONS = 4
"""Reasons that are shown; the report has all."""
LINES = 60
"""Classes in the chart; the highest-ranked ones."""
_LONGEST, _DISPLAYED = 192, 112  # of a picture, in pixels of the file and of the screen
_LABEL, _TEXT = 40, 600  # columns of a label, characters of a sentence

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420.0, 150.0, 34.0, 30.0  # of the chart; the last two are for its axes


@dataclass(frozen=True)
class Line:
    """The curve of one class."""

    points: str
    """For a polyline."""
    title: str
    flagged: bool


@dataclass(frozen=True)
class Chart:
    """Transfer against budget."""

    lines: tuple[Line, ...]
    """Those that are brought out come last."""
    shares: tuple[tuple[float, str], ...]
    """Heights with their words."""
    budgets: tuple[tuple[float, str], ...]
    """Places with their words."""
    level: float
    """Height at which a class counts as transferring."""
    axis: str
    name: str


def render(result: ScanResult) -> str:
    """Return a result as a block of HTML.

    Args:
        result: the scan, of any status; its pictures are shown if it has any.

    Raises:
        OutputError: the installation lacks the templates.
    """
    in_order = ranked(result.classes)
    reason = words.reason(result)
    space = SPACES[result.space]
    return render_fragment(
        "notebook.html.j2",
        {
            "tone": words.tone(result),
            "headline": words.headline(result),
            "badge": words.badge(result),
            "model": shorten(result.model.resolved_uri or result.model.uri, 100),
            "when": moment(result.finished_at),
            "reason": _cut(reason),
            "hint": _cut(result.error.hint) if result.error else "",
            "reasons": [_cut(line) for line in result.reasons if line != reason][:REASONS],
            "facts": _facts(result, in_order),
            "rows": [(_short(c), c.flagged, *_numbers(c)) for c in in_order[:ROWS]],
            "more": len(in_order) - ROWS,
            "budget": f"{space.axis} for {words.share(result)}",
            "chart": _chart(result, in_order[:LINES]),
            "chart_size": (_WIDTH, _HEIGHT, _LEFT, _BOTTOM),
            "pictures": [(picture, Markup(picture.uri)) for picture in result.pictures],  # noqa: S704  (base64)
            "limits": words.limits(result),
            "held": result.safety.held_by_caller,
            "examined": result.safety.architecture_examined,
        },
    )


def pictures(result: ScanResult, exhibits: Exhibits, *, redact_images: bool) -> tuple[ShownPicture, ...]:
    """Return the few pictures that a notebook shows: triggers of the flagged classes, or of the closest one.

    Args:
        result: the scan.
        exhibits: all of its pictures.
        redact_images: leave the user's images out, also those with a trigger.
    """
    in_order = ranked(result.classes)
    flagged = [c for c in in_order if c.flagged and c.found_by != "pairs"]
    names = {c.index: _short(c) for c in in_order}

    def name(index: int) -> str:
        return names.get(index, str(index))

    shown = []
    for c in flagged[:PICTURED] or in_order[:1]:
        found = exhibits.classes.get(c.index)
        if found is None:
            continue
        thing = SPACES[result.space].thing
        shown.append(_picture(of_trigger(found), f"{thing} for {_short(c)}"))
        if not redact_images:
            shown.append(_picture(found.synthesis_image, f"the clean image, “{name(found.synthesis_prediction)}”"))
            for example in found.examples[:EXAMPLES]:
                before, after = name(example.clean_prediction), name(example.perturbed_prediction)
                shown.append(_picture(example.perturbed, f"with the {thing}: “{before}” → “{after}”"))
    for pair, found in list(exhibits.pairs.items())[: 0 if flagged else PICTURED]:
        shown.append(_picture(of_trigger(found), f"patch from {name(pair[0])} to {name(pair[1])}"))
    return tuple(shown)


def _picture(image: Image, title: str) -> ShownPicture:
    height, width = image.shape[-2:]
    enlarge = _DISPLAYED / max(height, width)
    return ShownPicture(
        title=title,
        uri=data_uri(image, _LONGEST),
        width=max(1, round(width * enlarge)),
        height=max(1, round(height * enlarge)),
        pixelated=max(height, width) <= SMALL,
    )


def _facts(result: ScanResult, in_order: list[ClassResult]) -> list[tuple[str, str]]:
    """Return names and values of the few numbers beside the verdict."""
    facts = []
    if flagged := [c for c in in_order if c.flagged]:
        more = f" and {len(flagged) - 3} more" if len(flagged) > 3 else ""
        facts.append(("Target", ", ".join(_short(c) for c in flagged[:3]) + more))
    elif in_order:
        facts.append(("Closest class, not flagged", _short(in_order[0])))
    if in_order and (pair := words.pair_of(in_order[0], result)) is not None:
        moved = f"{percent(pair.transfer_rate)} of {count(pair.n_images, 'image')}"
        facts.append(("It moves", f"{moved} of {shorten(words.label(pair.source, result), _LABEL)}"))
    elif in_order:
        best = in_order[0]
        moved = f"{percent(best.transfer_rate)} of {count(best.n_images, 'image')}"
        facts.append(("It moves", f"{moved}, at {SPACES[result.space].of(best.epsilon)}"))
    if result.score is not None:
        facts.append(("Score", f"{result.score:.3f}"))
    if result.classes:
        c = result.coverage
        facts.append(("Classes examined", f"{c.classes_examined:,} of {c.classes_total:,}"))
    facts.append(("Time", duration(result.cost.seconds) if result.cost.seconds else "none"))
    return facts


def _numbers(c: ClassResult) -> tuple[str, str, str]:
    e50 = "not reached" if c.e50 is None else number(c.e50)
    return percent(c.transfer_rate), e50, f"{c.score:.3f}"


def _chart(result: ScanResult, in_order: list[ClassResult]) -> Chart | None:
    """Return the curves; None where fewer than two budgets were tried."""
    curves = {c.index: [p for p in c.curve if p.sigma == c.sigma] for c in in_order}
    budgets = sorted({p.epsilon for curve in curves.values() for p in curve})
    if len(budgets) < 2 or budgets[0] <= 0:
        return None
    low, high = math.log(budgets[0]), math.log(budgets[-1])

    def x(epsilon: float) -> float:
        return round(_LEFT + 6 + (_WIDTH - _LEFT - 18) * (math.log(epsilon) - low) / (high - low), 1)

    def y(share: float) -> float:
        return round(8 + (_HEIGHT - 16) * (1 - share), 1)

    lines = [
        Line(
            points=" ".join(f"{x(p.epsilon)},{y(p.transfer_rate)}" for p in curves[c.index]),
            title=_short(c),
            flagged=c.flagged,
        )
        for c in reversed(in_order)
        if curves[c.index]
    ]
    space = SPACES[result.space]
    step = -(-len(budgets) // 7)
    return Chart(
        lines=tuple(sorted(lines, key=lambda line: line.flagged)),
        shares=tuple((y(share), f"{share:.0%}") for share in (0, 0.5, 1)),
        budgets=tuple((x(epsilon), number(epsilon, 2)) for epsilon in budgets[::step]),
        level=y(words.level(result)),
        axis=space.axis,
        name=f"Share of held-out images that each class's {space.thing} moves to it, by {space.axis}",
    )


def _short(c: ClassResult) -> str:
    return shorten(c.label, _LABEL) or str(c.index)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
