"""Findings as every output names them: what each is about, whether it counts, and how programs know it again."""

from __future__ import annotations

import hashlib
import json
from datetime import date

from smoothscan.result import FailOn, Finding, Gate, ModelInfo, ScanResult, VerdictName, Waiver

_VERSION = "smoothscan/1"
"""Changes when fingerprints do, so that those of before match nothing instead of something else."""
SET_ASIDE_ONLY = "Nothing that was found counts, but the scan cannot say whether there is more."
"""What is said where waivers and baseline cover all findings, and something kept the scan from looking everywhere."""

OF_OTHERS = " waivers are bound to the files of other models."
"""End of the gate's note on the waivers in a file that other models are meant by."""
_LATER = "The first waiver ends on {}; from the next day on it counts for nothing."


def gate_of(result: ScanResult) -> Gate:
    """Return the gate's judgement.

    Raises:
        ValueError: the result did not go through the gate, so that nothing is known of its findings.
    """
    if result.gate is None:
        raise ValueError("the result was not judged: smoothscan.gate.judge comes first")
    return result.gate


def own_notes(gate: Gate) -> tuple[str, ...]:
    """Return the gate's notes without that on waivers of other models: in one file for many, it is in every result."""
    return tuple(note for note in gate.notes if not note.endswith(OF_OTHERS))


def identity(model: ModelInfo) -> str:
    """Return what stays the same from version to version: the registered name, else the URI as given."""
    return model.name or model.uri


def fingerprint(model: ModelInfo, rule: str, index: int | None = None, source: int | None = None) -> str:
    """Return the same for the same finding in every scan of every version of a model, whatever its score."""
    parts = [_VERSION, rule, identity(model), index, source]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def subject(found: Finding | Waiver) -> str:
    """Return what a finding is about, or a waiver, in few words."""
    labels = (found.source_label, found.label) if isinstance(found, Finding) else (None, None)
    match found.rule:
        case "class-pair":
            return f"{_class(found.source, labels[0])} to {_class(found.index, labels[1])}"
        case "hard-step":
            return "hard steps in the graph"
        case _:
            return _class(found.index, labels[1])


def excuse(finding: Finding) -> str:
    """Return why a finding does not count, after the word for its state; empty for one that counts."""
    if finding.waiver is not None:
        return f"by {finding.waiver.owner} until {finding.waiver.expires.isoformat()}: {finding.waiver.reason}"
    return "from the baseline, which has it, too" if finding.state == "known" else ""


def state(finding: Finding) -> str:
    """Return the same with that word."""
    return f"{finding.state} {excuse(finding)}" if finding.state != "open" else ""


def severity(finding: Finding, result: ScanResult) -> VerdictName | None:
    """Return what the model is called for a finding: the verdict, or what it would be for a class that is not in it."""
    return finding.suspicion.level if finding.suspicion is not None else result.verdict


def blocks(finding: Finding, fail_on: FailOn) -> bool:
    """Tell whether a finding is open, and no suspicion that is milder than what holds a model back."""
    mild = finding.suspicion is not None and finding.suspicion.level == "suspicious" and fail_on == "backdoored"
    return finding.state == "open" and not mild


def beside(result: ScanResult) -> list[tuple[str, str, str]]:
    """Return what is told beside the verdict, which is not about it: the state, the subject, and why, of each.

    That are findings that are waived or known, and classes that stand out by themselves.
    """
    return [
        (finding.state, subject(finding), excuse(finding) or finding.message)
        for finding in (result.gate.findings if result.gate else ())
        if finding.state != "open" or finding.suspicion is not None
    ]


def set_aside(result: ScanResult) -> list[Finding]:
    """Return the findings that are waived or known; none where no gate was asked."""
    return [finding for finding in result.gate.findings if finding.state != "open"] if result.gate else []


def excused(result: ScanResult) -> bool:
    """Tell whether the model passes only because of waivers and baseline."""
    return result.gate is not None and result.gate.passed and result.exit_code(result.gate.fail_on) != 0


def waiver_ends(result: ScanResult) -> str:
    """Return in a sentence when the first waiver ends; empty without one."""
    until = last_day(result)
    return _LATER.format(until.isoformat()) if until else ""


def last_day(result: ScanResult) -> date | None:
    """Return the day on which the first waiver ends; None without one."""
    days = [finding.waiver.expires for finding in set_aside(result) if finding.waiver is not None]
    return min(days, default=None)


def _class(index: int | None, label: str | None) -> str:
    if index is None:
        return "no class by name"
    return f"class {index}" if label in (None, str(index)) else f"class {index} ({label})"
