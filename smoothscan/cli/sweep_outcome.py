"""The summary of a sweep on standard output, in plain lines; `display.py` draws the same as a table on a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smoothscan.cli.outcome import aligned
from smoothscan.posture import Posture, Standing
from smoothscan.sinks.sweep_words import (
    ATTENTION,
    GROUPS,
    advice,
    badge,
    changes,
    false_alarms,
    group,
    incomplete,
    is_not_written,
    is_waived,
    summary,
    unexamined,
    why,
)
from smoothscan.sinks.text import count, number, plain, probability, shorten

COLUMNS = ("model", "verdict", "score", "q", "target class", "why")
"""Heads of the table of versions that somebody has to look at."""
NUMBERS = (2, 3)
"""Columns of numbers."""

_LISTED = 40  # versions in the table; flagged ones come on top of that
_PROMOTED = 10  # promoted versions without a scan that are named
_NAME, _LABEL, _WHY = 48, 24, 60  # columns


@dataclass(frozen=True)
class Row:
    """One version in the table."""

    cells: tuple[str, ...]
    """Texts, in the order of `COLUMNS`."""
    flagged: bool
    """Whether the version is flagged, and not all of it waived."""


def rows(posture: Posture) -> list[Row]:
    """Return the versions that somebody has to look at, the worst first; every flagged one is among them."""
    models = [model for model in posture.models if group(model) in ATTENTION]
    return [_row(model) for n, model in enumerate(models) if n < _LISTED or group(model) == "flagged"]


def left_out(posture: Posture) -> str:
    """Return how many versions the table leaves out, and why; empty if none."""
    others = [model for model in posture.models if group(model) not in ATTENTION]
    more = len(posture.models) - len(others) - len(rows(posture))
    parts = [f"{more:,} more to look at"] if more else []
    for name, text in GROUPS.items():
        if n := sum(group(model) == name for model in others):
            parts.append(f"{n:,} {text}")
    return f"not listed: {', '.join(parts)}" if parts else ""


def opening(posture: Posture) -> list[tuple[str, str]]:
    """Return what precedes the table: captions and texts."""
    actions = [model.action for model in posture.models]
    done = f"{actions.count('scanned'):,} scanned now, {actions.count('kept'):,} still valid"
    lines = [
        ("registry", plain(posture.registry)),
        ("versions", f"{len(posture.models):,}: {done}, {actions.count('pending'):,} not reached"),
        ("verdicts", summary(posture)),
    ]
    if posture.history:
        lines.append(("changes", changes(posture)))
    if not posture.complete:
        lines.insert(0, ("warning", incomplete(posture)))
    named = {model.uri: model for model in posture.models}
    for uri in posture.unscanned_promoted[:_PROMOTED]:
        lines.append(("promoted", f"{_promoted(uri, named.get(uri))}: {unexamined(named.get(uri))}"))
    if (more := len(posture.unscanned_promoted) - _PROMOTED) > 0:
        lines.append(("promoted", f"and {more:,} more that no scan tells anything of"))
    return lines


def closing(posture: Posture, folder: Path) -> list[tuple[str, str]]:
    """Return what follows the table: captions and texts."""
    lines = []
    if false_alarms(posture):
        lines.append(("fdr", _spaced(false_alarms(posture))))
    if rewritten := sum(model.rewritten != "" for model in posture.models):
        changed = sum(model.rewritten == "tags changed" for model in posture.models)
        why = f"; the tags of {changed:,} had been changed" if changed else ""
        lines.append(("registry", f"{count(rewritten, 'earlier result')} written back once more{why}"))
    if unwritten := sum(map(is_not_written, posture.models)):
        lines.append(("registry", f"{count(unwritten, 'result')} not written back, see the page"))
    lines += [("page", plain(str(folder / "index.html"))), ("data", plain(str(folder / "sweep.json")))]
    if posture.run_id is not None:
        lines.append(("run", plain(posture.run_id)))
    lines.append(("next", advice(posture)))
    return lines


def as_text(posture: Posture, folder: Path) -> str:
    """Return the summary as plain lines, for logs and pipes."""
    lines = [_captioned(line) for line in opening(posture)]
    if table := rows(posture):
        lines += ["", *aligned([COLUMNS, *(row.cells for row in table)], right=NUMBERS)]
    if left_out(posture):
        lines += [*([] if table else [""]), left_out(posture)]
    lines += ["", *(_captioned(line) for line in closing(posture, folder))]
    return "\n".join(lines)


def _captioned(line: tuple[str, str]) -> str:
    return f"{line[0]:<8} {line[1]}"


def _promoted(uri: str, model: Standing | None) -> str:
    if model is None:
        return plain(uri)
    signs = [f"@{shorten(name, _LABEL)}" for name in model.aliases]
    return " ".join([plain(uri), ", ".join([*signs, *([shorten(model.stage, _LABEL)] if model.stage else [])])])


def _row(model: Standing) -> Row:
    reason = why(model) or (model.due if model.due != badge(model) else "")
    names = model.labels or tuple(map(str, model.target_classes))
    verdict = f"{badge(model)}, waived" if is_waived(model) else badge(model)
    cells = (
        f"{shorten(model.name, _NAME)} {shorten(model.version, _LABEL)}",
        verdict,
        "-" if model.score is None else number(model.score),
        "-" if model.q_value is None else probability(model.q_value),
        shorten(", ".join(names), _LABEL) or "-",
        shorten(reason, _WHY) or "-",
    )
    return Row(cells, group(model) == "flagged" and not is_waived(model))


def _spaced(text: str) -> str:
    return text.replace("\u00a0", " ")
