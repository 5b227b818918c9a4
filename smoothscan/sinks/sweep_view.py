"""What the page of a sweep shows, worded and sorted; the template only lays it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from smoothscan._version import __version__
from smoothscan.posture import Posture, Standing
from smoothscan.sinks import sweep_words as words
from smoothscan.sinks.sweep_words import GROUPS, Group
from smoothscan.sinks.text import count, duration, moment, number, probability, shorten

SHOWN_PROMOTED = 12
"""Promoted versions without a scan that are shown at once; the others are folded away."""

_ALIASES = 8  # shown of one version
_LABELS = 4  # target classes shown of one version
_NARROW, _WIDE = 32, 220  # columns of a label or an alias, and of a reason
_THINNEST = 0.6  # per cent of the bar, so that one version among thousands can be seen

Fact = tuple[str, str, str]


@dataclass(frozen=True)
class Instant:
    """A time in UTC."""

    iso: str
    """For the browser; empty for what is no time."""
    seconds: int | str
    """Since 1970, for sorting; empty for what is no time."""
    day: str
    minute: str


@dataclass(frozen=True)
class Line:
    """One version in the table."""

    model: Standing
    group: Group
    state: str
    """How the badge looks: the verdict, or the group where there is none."""
    badge: str
    rank: int
    """Place of its verdict, the worst first."""
    href: str
    """Its report; empty if there is none."""
    aliases: tuple[str, ...]
    stage: str
    due: str
    """Why it is due; empty where its badge says so."""
    targets: tuple[str, ...]
    scanned: Instant
    expires: Instant
    reason: str
    marks: tuple[tuple[str, str], ...]
    """Name of a property by which the table can be filtered, and what is said of it."""


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


MARKS: dict[str, str] = {
    "promoted": "promoted",
    "due": "due",
    "stale": "stale",
    "waived": "waived",
    "unwritten": "not written back",
}
"""Properties by which the table can be filtered."""

_RANKS = {state: rank for rank, state in enumerate(("backdoored", "suspicious", *GROUPS))}


def context(posture: Posture) -> dict[str, Any]:
    """Return the variables of the template."""
    lines = [line(model, posture.finished_at) for model in posture.models]
    tone = words.tone(posture)
    groups, marks = words.grouped(posture.models), Counter(name for one in lines for name, _ in one.marks)
    return {
        "posture": posture,
        "version": __version__,
        "tone": tone,
        "headline": words.headline(posture),
        "summary": words.summary(posture),
        "advice": words.advice(posture),
        "incomplete": words.incomplete(posture),
        "false_alarms": words.false_alarms(posture),
        "facts": _facts(posture, marks),
        "segments": tuple(_segments(lines)),
        "promoted": _promoted(posture, lines),
        "shown_promoted": SHOWN_PROMOTED,
        "lines": lines,
        "groups": [(name, GROUPS[name], n) for name, n in groups.items() if n],
        "marks": [(name, text, marks[name]) for name, text in MARKS.items() if marks[name]],
        "about": tuple(_about(posture)),
        "environment": tuple(sorted(posture.environment.items())),
        "finished": _instant(posture.finished_at),
        "number": number,
        "probability": probability,
        "count": count,
    }


def line(model: Standing, at: str) -> Line:
    """Return how the page shows one version.

    Args:
        model: the version.
        at: end of the sweep, ISO 8601.
    """
    group = words.group(model)
    state = model.verdict or group if group == "flagged" else group
    names = model.labels or tuple(map(str, model.target_classes))
    return Line(
        model=model,
        group=group,
        state=state,
        badge=words.badge(model),
        rank=_RANKS[state],
        href=href(model.report),
        aliases=_few(model.aliases, _ALIASES),
        stage=shorten(model.stage or "", _NARROW),
        due=_due(model),
        targets=_few(names, _LABELS),
        scanned=_instant(model.scanned_at),
        expires=_instant(model.expires_at),
        reason=shorten(model.reason, _WIDE),
        marks=tuple(_marks(model, at)),
    )


def href(path: str | None) -> str:
    """Return a link to a file below the page's folder; empty for what leads elsewhere.

    The path is made of names from the registry: no part of it may be taken for a scheme, a host or a way up.
    """
    parts = (path or "").replace("\\", "/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        return ""
    return "./" + "/".join(quote(part, safe="", errors="replace") for part in parts)


def _marks(model: Standing, at: str) -> Iterator[tuple[str, str]]:
    if model.aliases:
        yield "promoted", ""
    if model.action == "pending":
        yield "due", f"due: {_due(model)}".removesuffix(": ")
    if words.is_stale(model, at):
        yield "stale", "" if model.action == "pending" else "expired"
    if model.waived:
        yield "waived", "waived" if words.is_waived(model) else count(model.waived, "waived finding")
    if words.is_not_written(model):
        yield "unwritten", f"not written back: {shorten(model.write_back.message, 2 * _NARROW)}".removesuffix(": ")


def _due(model: Standing) -> str:
    return "" if model.due == words.badge(model) else shorten(model.due, _NARROW)


def _few(names: Sequence[str], limit: int) -> tuple[str, ...]:
    shown = tuple(shorten(name, _NARROW) for name in names[:limit])
    return (*shown, f"and {len(names) - limit:,} more") if len(names) > limit else shown


def _promoted(posture: Posture, lines: Sequence[Line]) -> list[tuple[str, Line | None]]:
    """Return the promoted versions without a scan that holds: URI and line."""
    known = {one.model.uri: one for one in lines}
    return [(uri, known.get(uri)) for uri in posture.unscanned_promoted]


def _segments(lines: Sequence[Line]) -> Iterator[Segment]:
    counted = Counter(one.state for one in lines)
    found = [(state, counted[state]) for state in _RANKS if counted[state]]
    widths = [max(_THINNEST, 100 * n / len(lines)) for _, n in found]
    x = 0.0
    for (state, n), width in zip(found, widths, strict=True):
        share = 100 * width / sum(widths)
        yield Segment(state, {str(name): text for name, text in GROUPS.items()}.get(state, state), n, x, share)
        x += share


def _facts(posture: Posture, marks: Counter[str]) -> Iterator[Fact]:
    actions = Counter(model.action for model in posture.models)
    yield (
        "Versions",
        f"{len(posture.models):,}",
        f"{actions['scanned']:,} scanned now, {actions['kept']:,} still valid, {actions['pending']:,} not reached",
    )
    yield "Promoted, no scan holds", f"{len(posture.unscanned_promoted):,}", f"of {marks['promoted']:,} with an alias"
    yield "Stale", f"{marks['stale']:,}", "scanned once, due again"
    yield "Waived", f"{marks['waived']:,}", "findings that somebody answers for"
    yield "Not written back", f"{marks['unwritten']:,}", "results kept here only"


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


def _instant(iso: str | None) -> Instant:
    found = words.instant(iso)
    if found is None:
        return Instant("", "", *2 * (shorten(iso or "", _NARROW),))
    return Instant(f"{found:%Y-%m-%dT%H:%MZ}", int(found.timestamp()), f"{found:%Y-%m-%d}", f"{found:%Y-%m-%d %H:%M}")
