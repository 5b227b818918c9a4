"""A sweep in words, for the page, the terminal and the run: how the versions stand, and what to do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from smoothscan.posture import Change, PastSweep, Posture, Standing
from smoothscan.sinks.text import count, moment, number, percent
from smoothscan.sinks.text import instant as instant
from smoothscan.sinks.words import Tone

Group = Literal["flagged", "failed", "inconclusive", "unsupported", "unscanned", "clear"]

GROUPS: dict[Group, str] = {
    "flagged": "flagged",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "unsupported": "unsupported",
    "unscanned": "never scanned",
    "clear": "no trigger found",
}
"""How a version can stand, the worst first, in words."""

CHANGES: dict[Change, str] = {
    "newly_flagged": "newly flagged",
    "not_judged_since": "not judged any more",
    "no_longer_flagged": "no longer flagged",
    "judged_since": "judged now, with no trigger found",
    "new": "new",
}
"""What can become of a version from one sweep to the next, the most urgent first, in words."""

GLOSSARY = (
    (
        "Score",
        "How suspect a version is, from 0 to 1. Of a model that is compared with itself, suspicion begins at 0.5.",
    ),
    ("p", "The p-value: the probability that a clean model looks as suspect, by chance."),
    (
        "q",
        "The p-value with the number of versions taken into account: of the versions whose q is this small or smaller, "
        "at most about this share is expected to be false alarms.",
    ),
    ("Promoted", "An alias or a stage points to the version, so that others may load it."),
    ("Stale", "The version was scanned, but that scan no longer holds: it has expired, or the version is due again."),
)
"""The terms of the page of a sweep, with what they mean."""

_WITHOUT_VERDICT: tuple[Group, ...] = ("failed", "inconclusive", "unsupported", "unscanned")

ATTENTION: tuple[Group, ...] = ("flagged", "failed", "inconclusive", "unscanned")
"""Groups in which every version is for somebody to look at."""


def group(model: Standing) -> Group:
    """Return how a version stands."""
    if model.status is None:
        return "unscanned"
    if model.status != "completed":
        return "unsupported" if model.status == "unsupported" else "failed"
    if model.verdict in ("backdoored", "suspicious"):
        return "flagged"
    return "clear" if model.verdict == "clean" else "inconclusive"


def grouped(models: Sequence[Standing]) -> dict[Group, int]:
    """Return the number of versions in every group, the worst group first."""
    counted = Counter(map(group, models))
    return {name: counted[name] for name in GROUPS}


def why(model: Standing) -> str:
    """Return why a version stands as it does; who answers for it, and which waiver does not hold, come first."""
    aside = (sentence[:1].upper() + sentence[1:] for sentence in model.set_aside)
    return " ".join(filter(None, (*aside, *model.gate_notes, model.reason)))


def badge(model: Standing) -> str:
    """Return the verdict of a version, or the word for what happened instead."""
    if model.status == "completed":
        return model.verdict or "no verdict"
    return model.status.replace("_", " ") if model.status else GROUPS["unscanned"]


def unexamined(model: Standing | None) -> str:
    """Return why nothing is known of a promoted version."""
    if model is None or model.action == "pending" or model.status in (None, "completed"):
        return "no scan holds"
    return f"could not be examined ({badge(model)})"


def is_waived(model: Standing) -> bool:
    """Whether waivers cover everything that a version is flagged for."""
    return group(model) == "flagged" and model.waived > 0 and model.passed is True


def is_stale(model: Standing, at: str) -> bool:
    """Whether a version was scanned, but its scan no longer holds at a time."""
    return model.status is not None and (model.action == "pending" or _passed(model.expires_at, at))


def is_not_written(model: Standing) -> bool:
    """Whether the registry did not take the result of a version."""
    return model.write_back.status == "failed"


def changed(posture: Posture) -> dict[Change, int]:
    """Return the number of versions of every change since the sweep before, the most urgent first."""
    counted = Counter(model.change for model in posture.models)
    return {name: counted[name] for name in CHANGES}


def changes(posture: Posture) -> str:
    """Return what changed since the sweep before, in a sentence; empty if there was none."""
    if not posture.history:
        return ""
    before, now = posture.history[-1], in_numbers(posture)
    told = [f"{n:,} {CHANGES[name]}" for name, n in changed(posture).items() if n]
    if posture.gone:
        told.append(f"{len(posture.gone):,} gone")
    flagged = f"flagged {before.flagged:,} then, {now.flagged:,} now"
    of = f" of {moment(before.finished_at)}" if instant(before.finished_at) else ""
    return f"Since the last sweep{of}: {', '.join(told) or 'nothing changed'} ({flagged})."


def in_numbers(posture: Posture) -> PastSweep:
    """Return a sweep as those that come after it know it."""
    return PastSweep(
        started_at=posture.started_at,
        finished_at=posture.finished_at,
        versions=len(posture.models),
        counts=dict(sorted(posture.counts.items())),
        flagged=grouped(posture.models)["flagged"],
        waived=sum(map(is_waived, posture.models)),
        unscanned_promoted=len(posture.unscanned_promoted),
        exit_code=posture.exit_code,
    )


def tone(posture: Posture) -> Tone:
    """Return how the page should look."""
    found = grouped(posture.models)
    if any(model.verdict == "backdoored" and model.status == "completed" for model in posture.models):
        return "backdoored"
    if found["flagged"]:
        return "suspicious"
    if not posture.complete or posture.unscanned_promoted or found["clear"] < len(posture.models):
        return "unknown"
    return "clean" if posture.models else "unknown"


def headline(posture: Posture) -> str:
    """Return how the registry stands in a few words."""
    total, found = len(posture.models), grouped(posture.models)
    if not total:
        return "No version was looked at"
    if found["flagged"]:
        one = found["flagged"] == 1
        all_waived = sum(map(is_waived, posture.models)) == found["flagged"]
        told = "" if not all_waived else " and waived" if one else ", all of them waived"
        return f"{found['flagged']:,} of {count(total, 'version')} {'is' if one else 'are'} flagged{told}"
    if unjudged := total - found["clear"]:
        return f"None flagged, but {unjudged:,} of {count(total, 'version')} not judged"
    budgets = "budget of its scan" if total == 1 else "budgets of the scans"
    return f"No trigger found in {count(total, 'version')}, under the {budgets}"


def summary(posture: Posture) -> str:
    """Return how many versions stand how, in a sentence."""
    if not posture.models:
        return "The selection picks no version of a registered model, or the registry holds none."
    found, told = grouped(posture.models), []
    if found["flagged"]:
        verdicts = Counter(model.verdict for model in posture.models if group(model) == "flagged")
        both = [f"{verdicts[name]:,} {name}" for name in ("backdoored", "suspicious") if verdicts[name]]
        waived = sum(map(is_waived, posture.models))
        told.append(" and ".join(both) + (f" ({waived:,} waived)" if waived else ""))
    if others := [f"{found[name]:,} {GROUPS[name]}" for name in _WITHOUT_VERDICT if found[name]]:
        told.append(", ".join(others))
    if found["clear"]:
        told.append(f"no trigger found in {found['clear']:,}")
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."


def advice(posture: Posture) -> str:
    """Return what to do now."""
    found, lines = grouped(posture.models), []
    open_flags = found["flagged"] - sum(map(is_waived, posture.models))
    if open_flags:
        lines.append("Do not deploy a flagged version before a person has looked at its report.")
    if posture.unscanned_promoted:
        n = len(posture.unscanned_promoted)
        those, them = ("promoted version", "it") if n == 1 else (f"{n:,} promoted versions", "them")
        lines.append(f"First deal with the {those} that no valid scan covers: others may load {them} already.")
    if unknown := found["failed"] + found["inconclusive"] + found["unsupported"]:
        lines.append(f"Treat {count(unknown, 'version')} without a verdict as not examined.")
    if not posture.complete:
        lines.append("Run the same command again: it goes on with what is due.")
    if found["clear"]:
        lines.append("“No trigger found” is not proof that a model is safe.")
    return " ".join([*lines, f"The sweep exits with code {posture.exit_code}."])


def incomplete(posture: Posture) -> str:
    """Return what an unfinished sweep left out; empty if nothing."""
    if posture.complete:
        return ""
    pending = sum(model.action == "pending" for model in posture.models)
    left = f"{count(pending, 'version is', 'versions are')} due and {'was' if pending == 1 else 'were'} not reached"
    return f"This sweep is incomplete: {left if pending else 'it was stopped before everything due was looked at'}."


def false_alarms(posture: Posture) -> str:
    """Return what the p-values say of the flagged versions; empty if there are none."""
    found = posture.discoveries
    if found is None:
        return ""
    standing_out = {0: "none stands", 1: "one stands"}.get(found.discoveries, f"{found.discoveries:,} stand")
    text = (
        f"Of {count(found.tested, 'version')} with a p-value, {standing_out} out at a false discovery rate of "
        f"{percent(found.alpha)} (Benjamini and Hochberg)."
    )
    if found.expected_false is not None:
        flagged = "the one flagged version" if found.flagged == 1 else f"the {found.flagged:,} flagged versions"
        text += f" Among {flagged}, at most about {number(found.expected_false, 2)} false alarms are to be expected."
    elif found.flagged:
        text += " How many of the flagged are false alarms cannot be said: not each of them has a p-value."
    return f"{text} {_CAVEAT}"


_CAVEAT = (
    "This holds as far as the p-values do: they compare a model with its own classes or with the clean models of a "
    "calibration, and versions of one model are alike. It says nothing of backdoors that no scan found."
)


def _passed(moment: str | None, at: str) -> bool:
    """Whether a time lies before another one; a time that is none has not passed."""
    first, second = instant(moment), instant(at)
    return first is not None and second is not None and first < second
