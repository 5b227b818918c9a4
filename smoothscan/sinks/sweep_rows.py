"""One version in the table of a sweep's page: as the template lays it out, and as its script reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from smoothscan.posture import Standing
from smoothscan.sinks import sweep_words as words
from smoothscan.sinks.sweep_words import CHANGES, GROUPS, Group
from smoothscan.sinks.text import count, plain, shorten

RANKS = {state: rank for rank, state in enumerate(("backdoored", "suspicious", *GROUPS))}
"""How a badge can look, the worst first."""
MARKS: dict[str, str] = {
    "promoted": "promoted",
    "uncovered": "promoted, not examined",
    "due": "due",
    "stale": "stale",
    "waived": "waived",
    "unwritten": "not written back",
    "rewritten": "written back again",
}
"""Properties by which the table can be filtered, beside the verdict and what changed."""

_ALIASES = 8  # shown of one version
_LABELS = 4  # target classes shown of one version
_NAME, _NARROW, _WIDE = 96, 32, 220  # columns of a name, of a label or an alias, and of a reason


@dataclass(frozen=True)
class Instant:
    """A time in UTC."""

    iso: str
    """For the browser; empty for what is no time."""
    seconds: int | None
    """Since 1970, for sorting; None for what is no time."""
    day: str
    minute: str


@dataclass(frozen=True)
class Line:
    """One version in the table."""

    model: Standing
    name: str
    version: str
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
    changed: str
    """What became of it since the sweep before, in words; empty for nothing."""
    before: str
    """What it was then."""


def line(model: Standing, at: str, *, uncovered: bool) -> Line:
    """Return how the page shows one version.

    Args:
        model: the version.
        at: end of the sweep, ISO 8601.
        uncovered: whether it is promoted, and nothing is known of it.
    """
    group = words.group(model)
    state = model.verdict or group if group == "flagged" else group
    names = model.labels or tuple(map(str, model.target_classes))
    return Line(
        model=model,
        name=shorten(model.name, _NAME),
        version=shorten(model.version, _NARROW),
        group=group,
        state=state,
        badge=words.badge(model),
        rank=RANKS[state],
        href=href(model.report),
        aliases=_few(model.aliases, _ALIASES),
        stage=shorten(model.stage or "", _NARROW),
        due=_due(model),
        targets=_few(names, _LABELS),
        scanned=instant(model.scanned_at),
        expires=instant(model.expires_at),
        reason=shorten(words.why(model), _WIDE),
        marks=tuple(_marks(model, at, uncovered)),
        changed="" if model.change is None else CHANGES[model.change],
        before=shorten((model.before or "new").replace("_", " "), _NARROW),
    )


def as_data(one: Line) -> dict[str, Any]:
    """Return a version for the page's script, without what is empty or unknown."""
    model = one.model
    told = {
        "name": one.name,
        "version": one.version,
        "state": one.state,
        "badge": plain(one.badge),
        "rank": one.rank,
        "href": one.href,
        "aliases": one.aliases,
        "stage": one.stage,
        "score": model.score,
        "p": model.p_value,
        "q": model.q_value,
        "targets": one.targets,
        "scanned": _for_script(one.scanned),
        "expires": _for_script(one.expires),
        "marks": one.marks,
        "change": model.change,
        "changed": one.changed,
        "reason": one.reason,
    }
    return {key: value for key, value in told.items() if value not in (None, "", ())}


def href(path: str | None) -> str:
    """Return a link to a file below the page's folder; empty for what leads elsewhere.

    The path is made of names from the registry: no part of it may be taken for a scheme, a host or a way up.
    """
    parts = (path or "").replace("\\", "/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        return ""
    return "./" + "/".join(quote(part, safe="", errors="replace") for part in parts)


def instant(iso: str | None) -> Instant:
    """Return a time of a result; what is no time is kept as text."""
    found = words.instant(iso)
    if found is None:
        return Instant("", None, *2 * (shorten(iso or "", _NARROW),))
    return Instant(f"{found:%Y-%m-%dT%H:%MZ}", int(found.timestamp()), f"{found:%Y-%m-%d}", f"{found:%Y-%m-%d %H:%M}")


def _for_script(time: Instant) -> int | str:
    return time.minute if time.seconds is None else time.seconds


def _marks(model: Standing, at: str, uncovered: bool) -> Iterator[tuple[str, str]]:
    if model.promoted:
        yield "promoted", ""
    if uncovered:
        yield "uncovered", ""
    if model.action == "pending":
        yield "due", f"due: {_due(model)}".removesuffix(": ")
    if words.is_stale(model, at):
        yield "stale", "" if model.action == "pending" else "expired"
    if model.waived:
        yield "waived", "waived" if words.is_waived(model) else count(model.waived, "waived finding")
    if words.is_not_written(model):
        yield "unwritten", f"not written back: {shorten(model.write_back.message, 2 * _NARROW)}".removesuffix(": ")
    if model.rewritten:
        yield "rewritten", f"written back again: {shorten(model.rewritten, _NARROW)}"


def _due(model: Standing) -> str:
    return "" if model.due == words.badge(model) else shorten(model.due, _NARROW)


def _few(names: Sequence[str], limit: int) -> tuple[str, ...]:
    shown = tuple(shorten(name, _NARROW) for name in names[:limit])
    return (*shown, f"and {len(names) - limit:,} more") if len(names) > limit else shown
