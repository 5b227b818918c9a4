"""What the page of a sweep shows, worded and sorted; the template only lays it out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from smoothscan._version import __version__
from smoothscan.posture import Change, Posture
from smoothscan.sinks import sweep_trend as trend
from smoothscan.sinks import sweep_words as words
from smoothscan.sinks.sweep_rows import MARKS, RANKS, Line, as_data, instant, line
from smoothscan.sinks.sweep_words import CHANGES, GROUPS, Group
from smoothscan.sinks.text import count, duration, moment, number, probability

SHOWN_ROWS = 100
"""Versions that the page shows at a time; without its script, the worst ones."""
SHOWN_PROMOTED = 6
"""Promoted versions that nothing is known of and that are shown at once; the others are folded away."""
SHOWN_CHANGES = 6
"""Versions that are named of each change."""
SHOWN_REASONS = 8
"""Reasons why versions have no verdict that are named; the most frequent ones."""

_NAMED: tuple[Change, ...] = ("newly_flagged", "not_judged_since", "no_longer_flagged")
"""Changes of which versions are named; of the others their number is enough."""
_THINNEST = 0.6  # per cent of the bar, so that one version among thousands can be seen

Fact = tuple[str, str, str, str]


@dataclass(frozen=True)
class Segment:
    """A part of the bar over all versions."""

    state: str
    text: str
    n: int
    x: float
    """Left end, in per cent of the bar."""
    width: float
    """In per cent of the bar."""
    show: str
    """Fragment that filters the table."""


@dataclass(frozen=True)
class Changed:
    """What became of some versions since the sweep before."""

    kind: Change
    text: str
    n: int
    show: str
    """Fragment that filters the table."""
    named: tuple[Line, ...]
    """The worst of them; none where the number is enough."""


@dataclass(frozen=True)
class Unjudged:
    """Why some versions have no verdict."""

    state: str
    badge: str
    reason: str
    n: int
    promoted: int
    show: str
    """Fragment that filters the table."""


def context(posture: Posture) -> dict[str, Any]:
    """Return the variables of the template."""
    uncovered = set(posture.unscanned_promoted)
    lines = [line(model, posture.finished_at, uncovered=model.uri in uncovered) for model in posture.models]
    marks = Counter(name for one in lines for name, _ in one.marks)
    segments, unjudged = tuple(_segments(lines)), tuple(_unjudged(lines))
    return {
        "posture": posture,
        "version": __version__,
        "tone": words.tone(posture),
        "headline": words.headline(posture),
        "summary": words.summary(posture),
        "advice": words.advice(posture),
        "incomplete": words.incomplete(posture),
        "false_alarms": words.false_alarms(posture),
        "facts": _facts(posture, marks),
        "segments": segments,
        "states": [(s.state, s.text, s.n) for s in segments],
        "charts": trend.charts(posture),
        "chart_height": trend.HEIGHT,
        "sweeps": trend.rows(posture),
        "sweep_columns": trend.COLUMNS,
        "before": moment(posture.history[-1].finished_at) if posture.history else "",
        "changed": tuple(_changed(posture, lines)),
        "promoted": _promoted(posture, lines),
        "shown_promoted": SHOWN_PROMOTED,
        "unjudged": unjudged[:SHOWN_REASONS],
        "other_reasons": len(unjudged[SHOWN_REASONS:]),
        "lines": lines,
        "shown_rows": SHOWN_ROWS,
        "data": _data(lines),
        "marks": [(name, text, marks[name]) for name, text in MARKS.items() if marks[name]],
        "changes": [(name, CHANGES[name], n) for name, n in words.changed(posture).items() if n],
        "glossary": words.GLOSSARY,
        "about": tuple(_about(posture)),
        "environment": tuple(sorted(posture.environment.items())),
        "finished": instant(posture.finished_at),
        "number": number,
        "probability": probability,
        "count": count,
    }


def _data(lines: Sequence[Line]) -> Markup:
    """Return all versions as JSON that cannot end the element it stands in, nor be taken for markup."""
    text = json.dumps([as_data(one) for one in lines], ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (no character of markup is left)


def _show(**filters: str) -> str:
    """Return the fragment by which the page's script filters the table; see index.js."""
    return "#" + urlencode(filters, errors="replace")


def _changed(posture: Posture, lines: Sequence[Line]) -> Iterator[Changed]:
    for kind, n in words.changed(posture).items():
        if n:
            found = [one for one in lines if one.model.change == kind] if kind in _NAMED else []
            yield Changed(kind, CHANGES[kind], n, _show(change=kind), tuple(found[:SHOWN_CHANGES]))


def _unjudged(lines: Sequence[Line]) -> Iterator[Unjudged]:
    """Yield the reasons why versions have no verdict, the most frequent first."""
    without: tuple[Group, ...] = ("failed", "inconclusive", "unsupported")
    found: dict[tuple[Group, str, str], list[Line]] = {}
    for one in lines:
        if one.group in without:
            found.setdefault((one.group, one.badge, one.reason), []).append(one)
    for (group, badge, reason), those in sorted(found.items(), key=lambda item: -len(item[1])):
        promoted = sum(one.model.promoted for one in those)
        yield Unjudged(group, badge, reason, len(those), promoted, _show(verdict=group, q=reason))


def _promoted(posture: Posture, lines: Sequence[Line]) -> list[tuple[str, Line | None]]:
    """Return the promoted versions without a scan that holds: URI and line."""
    known = {one.model.uri: one for one in lines}
    return [(uri, known.get(uri)) for uri in posture.unscanned_promoted]


def _segments(lines: Sequence[Line]) -> Iterator[Segment]:
    counted = Counter(one.state for one in lines)
    found = [(state, counted[state]) for state in RANKS if counted[state]]
    widths = [max(_THINNEST, 100 * n / len(lines)) for _, n in found]
    x = 0.0
    for (state, n), width in zip(found, widths, strict=True):
        share = 100 * width / sum(widths)
        text = {str(name): text for name, text in GROUPS.items()}.get(state, state)
        yield Segment(state, text, n, x, share, _show(verdict=state))
        x += share


def _facts(posture: Posture, marks: Counter[str]) -> Iterator[Fact]:
    actions = Counter(model.action for model in posture.models)
    yield (
        "Versions",
        f"{len(posture.models):,}",
        f"{actions['scanned']:,} scanned now, {actions['kept']:,} still valid, {actions['pending']:,} not reached",
        "",
    )
    uncovered = f"{len(posture.unscanned_promoted):,}"
    yield "Promoted, not examined", uncovered, f"of {marks['promoted']:,} that are promoted", _show(only="uncovered")
    yield "Stale", f"{marks['stale']:,}", "scanned once, due again", _show(only="stale")
    yield "Waived", f"{marks['waived']:,}", "findings that somebody answers for", _show(only="waived")
    yield "Not written back", f"{marks['unwritten']:,}", "results kept here only", _show(only="unwritten")


def _about(posture: Posture) -> Iterator[tuple[str, str]]:
    yield "registry", posture.registry
    for key, value in sorted(posture.selection.items()):
        chosen = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        yield f"selection: {key}", "any" if chosen in (None, "") else str(chosen)
    yield "engine", posture.engine
    yield "started", moment(posture.started_at)
    yield ("finished" if posture.complete else "stopped"), moment(posture.finished_at)
    began, ended = words.instant(posture.started_at), words.instant(posture.finished_at)
    if began and ended:
        yield "wall time", duration((ended - began).total_seconds())
    spent = sum(model.seconds or 0 for model in posture.models if model.action == "scanned")
    yield "time of the scans", duration(spent)
    yield "exit code", str(posture.exit_code)
    yield "MLflow run", posture.run_id or "none"
