"""What `smoothscan verify` prints, in plain lines."""

from __future__ import annotations

from smoothscan.cli.outcome import aligned
from smoothscan.sinks.text import count, moment, percent, plain, shorten
from smoothscan.verification import Replayed, Verification
from smoothscan.vocabulary import SPACES

_COLUMNS = ("class", "kind", "earlier", "now", "95 % interval", "images", "")
_LABEL = 24  # columns


def as_text(found: Verification) -> str:
    """Return the outcome in lines; a version is never called clean."""
    earlier = plain(found.earlier.resolved_uri or found.earlier.uri)
    when = f", {moment(found.earlier_finished_at)}" if found.earlier_finished_at else ""
    same = "; the same files as this model" if found.same_files else ""
    lines = [
        f"model    {plain(found.model.resolved_uri or found.model.uri)}",
        f"against  {earlier}: {found.earlier_verdict or 'no verdict'}{when}{same}",
        f"outcome  {_outcome(found)}",
    ]
    if found.error is not None:
        lines += [f"why      {plain(found.error.message)}"]
        lines += [f"next     {plain(found.error.hint)}"] if found.error.hint else []
    if found.triggers:
        lines += ["", *aligned([_COLUMNS, *map(_row, found.triggers)], right=(2, 3, 4, 5)), ""]
    lines += [f"missing  {plain(what)}" for what in found.not_replayed]
    if found.images_skipped:
        lines.append(f"skipped  {plain('; '.join(found.images_skipped))}")
    if found.triggers and not found.flagged:
        lines.append("note     The earlier scan flagged nothing: these are its most suspect classes, no triggers.")
    if found.status == "completed":
        lines.append("note     This is no scan: nothing was searched, and other triggers may be there.")
        lines.append("next     smoothscan check scans this version")
    return "\n".join(lines)


def _outcome(found: Verification) -> str:
    what = "saved trigger" if found.flagged else "saved perturbation"
    works = sum(trigger.outcome == "works" for trigger in found.triggers)
    match found.status, found.outcome:
        case "completed", "works":
            more = "works" if found.flagged else "works better than on the earlier model"
            return f"{works} of {count(len(found.triggers), what)} {more}"
        case "completed", "gone":
            more = "works" if found.flagged else "works better than on the earlier model"
            return f"none of {count(len(found.triggers), what)} {more}; that does not make this version clean"
        case "completed", _:
            return "cannot say"
        case "refused", _:
            return "refused: the model was not examined"
        case "unsupported", _:
            return "unsupported model: it was not examined"
        case "timed_out", _:
            return "time limit passed"
    return "failed: the model was not examined"


def _row(trigger: Replayed) -> tuple[str, ...]:
    name = str(trigger.index) if trigger.label == str(trigger.index) else f"{trigger.index} {trigger.label}"
    source = "" if trigger.source is None else f"{trigger.source} to "
    now = {"works": "works", "gone": "", "undecided": "too few images to tell"}[trigger.outcome]
    cells = (
        percent(trigger.earlier_rate),
        percent(trigger.rate) if trigger.n_images else "-",
        f"{percent(trigger.ci[0])} to {percent(trigger.ci[1])}",
        str(trigger.n_images),
        now if trigger.led_to is None else f"works, and leads to class {trigger.led_to} now",
    )
    shown = shorten(source + name, _LABEL)
    return (shown, SPACES[trigger.space].title, *(cell.replace("\u00a0", " ") for cell in cells))
