"""The variables of the report's template: which parts the page of a scan has, and what stands in them."""

from __future__ import annotations

from typing import Any

from smoothscan._version import __version__
from smoothscan.exhibits import Exhibits
from smoothscan.result import ClassResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.advice import advice, exit_code
from smoothscan.sinks.findings import beside
from smoothscan.sinks.ranking import ranked
from smoothscan.sinks.report import bars, certainty, charts, classes, commands, details, summary
from smoothscan.sinks.report.evidence import MAX_CARDS, apart, class_card
from smoothscan.sinks.report.null_band import curve, null_band
from smoothscan.sinks.report.pairs import pairs_view
from smoothscan.sinks.report.steps import steps
from smoothscan.sinks.text import count, moment, number, percent, plain, probability
from smoothscan.vocabulary import SPACES

_LABEL = 100  # characters
_COMPARED = 3
"""Flagged classes that are compared with the ordinary ones in words and in the table of the curves."""


def context(result: ScanResult, exhibits: Exhibits, redact_images: bool, command: str) -> dict[str, Any]:
    """Return the variables of the template.

    Args:
        result: the scan.
        exhibits: its pictures.
        redact_images: leave out every picture that shows the user's images.
        command: the command line that reproduces the scan.
    """
    result = _readable(result)
    in_order = ranked(result.classes)
    flagged = [c for c in in_order if c.flagged]
    closest = in_order[0] if in_order and not flagged else None
    out = flagged or in_order[:1]
    band = null_band([c for c in in_order if not c.flagged and c is not closest], out)
    by_budget = [c for c in out[:MAX_CARDS] if c.found_by != "pairs"]
    by_pairs = [c for c in out[:MAX_CARDS] if c.found_by == "pairs"]
    found_pairs = pairs_view(result, exhibits, redact_images)
    space, level, probe = SPACES[result.space], words.level(result), result.noise_probe
    probed = [words.label(t, result) for t in probe.top_class] if probe else []
    reason = words.reason(result)
    return {
        "result": result,
        "version": __version__,
        # The verdict
        "tone": words.tone(result),
        "headline": words.headline(result),
        "badge": words.badge(result),
        "reason": reason,
        "reasons": [line for line in result.reasons if line != reason],
        "advice": advice(result, exit_code(result)),
        "gate": beside(result),
        "gate_notes": result.gate.notes if result.gate else (),
        "facts": summary.facts(result, flagged, closest),
        "chances": words.chances(result),
        "when": moment(result.finished_at or result.started_at),
        # The evidence
        "flagged": flagged,
        "closest": closest,
        "cards": [
            *(class_card(c, result, exhibits.classes.get(c.index), band, redact_images) for c in by_budget),
            *(found_pairs.cards if found_pairs else ()),
        ],
        "more_flagged": max(0, len(flagged) - MAX_CARDS),
        "redacted": redact_images,
        "thing": space.thing,
        "curves": charts.budget_curves(in_order, closest.index if closest else None, space, level, band),
        "compared": _compared(out, result),
        "band": band,
        "apart": [
            *(text for c in by_budget[:_COMPARED] if (text := apart(c, band, result, _points(c)))),
            *(words.not_apart(c, result) for c in by_pairs[:_COMPARED]),
        ],
        "crosses": bool(by_budget),
        "level": level,
        "share": words.share(result),
        # What to do, and how sure it is
        "steps": steps(result, command),
        "command": commands.pinned(command, result),
        "sureness": certainty.sureness(result, out[0] if out else None),
        "not_examined": certainty.not_examined(result),
        "limits": words.blind_spots(result),
        # Everything that was measured
        "rows_of_classes": classes.rows(in_order),
        "strip": bars.strip(in_order) if len(in_order) > classes.STRIP else None,
        "printed": classes.PRINTED,
        "table_title": "Classes searched in full" if words.screened(result) else "All classes",
        "rates_note": classes.note(in_order, space),
        "kind": words.kind(result),
        "control": words.control(result),
        "glossary": words.glossary(result),
        "spaces": summary.spaces(
            result, {c.index: c.label for c in in_order}, {c.index for c in flagged if c.found_by != "pairs"}
        ),
        "pairs": found_pairs,
        "probe": probe,
        "probe_labels": probed,
        "noise": charts.noise_lines(probe, probed) if probe else None,
        # Details
        "coverage": details.coverage(result),
        "model": details.model(result),
        "input_spec": details.input_spec(result.input_spec) if result.input_spec else (),
        "safety": details.safety(result),
        "no_graph": words.not_examined(result),
        "write_back": details.write_back(result),
        "cost": details.cost(result),
        "config": tuple(details.flat(result.config)),
        "environment": tuple(sorted(result.environment.items())),
        # Functions
        "bar": bars.bar,
        "number": number,
        "percent": percent,
        "probability": probability,
        "count": count,
    }


def _readable(result: ScanResult) -> ScanResult:
    """Return the result with names of classes that leave room for what is said of them."""
    if all(len(c.label) <= _LABEL for c in result.classes):
        return result
    update: dict[str, Any] = {
        "classes": tuple(c.model_copy(update={"label": plain(c.label, _LABEL)}) for c in result.classes)
    }
    if result.gate is not None:
        found = tuple(
            f.model_copy(
                update={key: plain(text, _LABEL) for key in ("label", "source_label") if (text := getattr(f, key))}
            )
            for f in result.gate.findings
        )
        update["gate"] = result.gate.model_copy(update={"findings": found})
    return result.model_copy(update=update)


def _points(c: ClassResult) -> list[tuple[float, float]]:
    return [(p.epsilon, p.transfer_rate) for p in curve(c)]


def _compared(out: list[ClassResult], result: ScanResult) -> list[tuple[str, dict[float, str]]]:
    """Return the classes that stand out, each with what it moves by budget, for the table of the curves."""
    return [(c.label, {p.epsilon: f"{p.hits} of {p.n_images}" for p in curve(c)}) for c in out[:_COMPARED]]
