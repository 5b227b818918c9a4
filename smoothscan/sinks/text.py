"""Text that is safe to show. Labels, names and messages may come out of a hostile model."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from smoothscan import vocabulary

_TERMINAL_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, ...: titles, links
    r"|\x1b[ -/]*[0-~]"  # the two-character ones
)
_NO_CHARACTERS = {0xFFFE: None, 0xFFFF: None}  # XML has no place for them
_JOINERS = "\u200c\u200d"  # some scripts, and emoji, can not be written without them


def plain(text: str, limit: int = 4000) -> str:
    """Return `text` without terminal sequences, control, direction-changing, unpaired surrogate and non-characters.

    Line breaks and tabs become spaces. The result still has to be escaped where it goes into HTML.

    Args:
        text: any text.
        limit: longest result in characters; a longer one ends in an ellipsis.

    Returns:
        One line of printable text.
    """
    text = _TERMINAL_SEQUENCE.sub("", text)
    text = re.sub(r"[\t\n\r\v\f\u0085\u2028\u2029]+", " ", text)
    text = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    text = text.translate(_NO_CHARACTERS)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def shorten(text: str, columns: int) -> str:
    """Return `text` cut to a width for which there is room; wide (East Asian) characters count as two columns."""
    text = plain(text)
    used = 0
    for position, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns:
            return text[: position - 1].rstrip() + "…"
    return text


def as_sentence(text: str) -> str:
    """Return a text that others can follow: with a full stop, unless it ends in a mark of its own or is empty."""
    return f"{text}." if text and text[-1] not in ".!?" else text


def number(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, without an exponent where that reads better."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    text = f"{value:#.{digits}g}"
    return f"{float(text):g}" if "e" in text else text.rstrip(".")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage that never rounds to all or nothing when it is not."""
    if 0 < share < 0.005:
        return "<\u00a01\u00a0%"
    if 0.995 <= share < 1:
        return ">\u00a099\u00a0%"
    return f"{100 * share:.0f}\u00a0%"


def probability(value: float | None) -> str:
    """Return a p-value; `n/a` where there is none."""
    return "n/a" if value is None else vocabulary.probability(value)


def count(n: int, one: str, many: str | None = None) -> str:
    """Return `n` with its noun, as in `1 image` and `3 images`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return a duration in the units that a person would use."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(n_bytes: float) -> str:
    """Return a number of bytes in binary units."""
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def instant(iso: str | None) -> datetime | None:
    """Return an ISO 8601 time in UTC, which is what a time without a zone is in; None for what is no time.

    At the ends of the calendar there are times in other zones that have none in UTC.
    """
    try:
        time = datetime.fromisoformat(iso or "")
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def seconds_of(iso: str | None) -> str:
    """Return an ISO 8601 time as programs read it: in UTC, to the second and without a zone; empty for what is none."""
    time = instant(iso)
    return "" if time is None else time.replace(tzinfo=None).isoformat(timespec="seconds")


def moment(iso: str | None) -> str:
    """Return an ISO 8601 time for people, to the minute; what is no such time is returned as it is."""
    if not iso:
        return ""
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = "" if time.tzinfo is None else " UTC" if not time.utcoffset() else f" {time:%z}"
    return f"{time:%Y-%m-%d %H:%M}{zone}"
