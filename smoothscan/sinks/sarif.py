"""`smoothscan.sarif`: SARIF 2.1.0, for code scanning; within the limits that GitHub sets for what it takes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smoothscan._version import __version__
from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import REPORTS
from smoothscan.result import Finding, Gate, ModelInfo, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.advice import advice, exit_code, silence
from smoothscan.sinks.findings import excused, fingerprint, gate_of, identity, set_aside, severity, state, subject
from smoothscan.sinks.sarif_rules import NO_VERDICT, RULES
from smoothscan.sinks.text import plain, seconds_of

MAX_RESULTS = 5000
"""Results that GitHub keeps of a file; those that count come first."""

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_TEXT = 1000  # characters of a message, of 1,024
_ROOT = "%SRCROOT%"
_WRITTEN = {"\\": "\\\\", "[": "\\[", "]": "\\]", "{": "{{", "}": "}}"}


class SarifSink:
    """Writes `smoothscan.sarif`.

    Args:
        anchor: path, relative to the repository, of the file that findings are shown at: a model is no file there.
    """

    def __init__(self, anchor: str) -> None:
        self.anchor = anchor

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `smoothscan.sarif`; see `Sink.write`."""
        return (write_atomically(make_folder(folder) / REPORTS["sarif"], to_sarif(result, self.anchor)),)


def to_sarif(result: ScanResult, anchor: str) -> bytes:
    """Return a judged result as SARIF; equal results give equal bytes.

    A scan without a verdict has a result of its own, `no-verdict`: a log without results would read as a clean model.

    Args:
        result: the scan, after the gate.
        anchor: path of the file that findings are shown at, relative to the repository.
    """
    gate = gate_of(result)
    found = sorted(gate.findings, key=lambda finding: finding.state != "open")
    results = [_result(finding, result, gate, anchor) for finding in found]
    if silence(result) and not _is_by_hard_steps_alone(result, gate):
        results.insert(0, _no_verdict(result, gate, anchor))
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "smoothscan",
                        "version": result.environment.get("smoothscan", __version__),
                        "rules": list(RULES.values()),
                    }
                },
                # Without a category for each model, the upload of one would close the alerts of all others.
                "automationDetails": {"id": f"smoothscan/{_slug(result.model)}/"},
                "invocations": [_invocation(result, gate)],
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
                "columnKind": "unicodeCodePoints",
                "results": results[:MAX_RESULTS],
                "properties": _about(result, gate),
            }
        ],
    }
    text = json.dumps(log, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")


def _is_by_hard_steps_alone(result: ScanResult, gate: Gate) -> bool:
    """Tell whether a finding says already why there is no answer."""
    return result.obstacles == ("hard-step",) and any(
        finding.rule == "hard-step" and finding.state == "open" for finding in gate.findings
    )


def _result(finding: Finding, result: ScanResult, gate: Gate, anchor: str) -> dict[str, Any]:
    aside = state(finding)
    severe = severity(finding, result) == "backdoored" and finding.rule != "hard-step"
    text = f"{_model(result.model)}: {plain(finding.message, _TEXT // 2)}"
    found: dict[str, Any] = {
        **_located(finding.rule, text if not aside else f"{text} ({aside})", finding.fingerprint, anchor),
        "level": "note" if aside else "error" if severe else "warning",
        "suppressions": [_suppression(finding)] if aside else [],
        "properties": {"model": plain(identity(result.model)), "state": finding.state, **_measured(finding, result)},
    }
    if gate.baseline is not None:
        found["baselineState"] = "unchanged" if finding.state == "known" else "new"
    return found


def _no_verdict(result: ScanResult, gate: Gate, anchor: str) -> dict[str, Any]:
    text = f"{_model(result.model)}: {silence(result)}"
    known = fingerprint(result.model, NO_VERDICT)
    found = {**_located(NO_VERDICT, text, known, anchor), "level": "error", "suppressions": []}
    return found if gate.baseline is None else found | {"baselineState": "new"}


def _located(rule: str, text: str, known: str, anchor: str) -> dict[str, Any]:
    location = {
        "artifactLocation": {"uri": quote(anchor), "uriBaseId": _ROOT},
        "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
    }
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "kind": "fail",
        "message": {"text": _message(text)},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"primaryLocationLineHash": known, "smoothscanFinding/v1": known},
    }


def _suppression(finding: Finding) -> dict[str, Any]:
    entry = {"kind": "external", "status": "accepted", "justification": plain(state(finding), _TEXT)}
    if finding.waiver is None:
        return entry
    until = {"owner": plain(finding.waiver.owner), "expires": finding.waiver.expires.isoformat()}
    return entry | {"properties": until}


def _measured(finding: Finding, result: ScanResult) -> dict[str, Any]:
    """Return the numbers behind a finding."""
    if finding.rule == "hard-step":
        steps = result.safety.architecture
        return {"operations": [plain(f"{step.operation} {step.detail}", _TEXT) for step in steps[:100]]}
    if finding.rule == "class-pair" and result.pairs is not None:
        for pair in result.pairs.flagged:
            if (pair.source, pair.target) == (finding.source, finding.index):
                return {
                    "sourceClass": pair.source,
                    "targetClass": pair.target,
                    "transferRate": pair.transfer_rate,
                    "transferInterval": list(pair.transfer_ci),
                    "budget": pair.epsilon,
                }
    if finding.suspicion is not None:
        by_itself = finding.suspicion
        return {
            "targetClass": by_itself.index,
            "level": by_itself.level,
            "anomaly": by_itself.anomaly,
            "triggerSpace": by_itself.space,
        }
    for c in result.classes:
        if c.index == finding.index:
            return {
                "targetClass": c.index,
                "score": c.score,
                "pValue": c.p_value,
                "transferRate": c.transfer_rate,
                "transferInterval": list(c.transfer_ci),
                "images": c.n_images,
                "triggerSpace": result.space,
                "budget": c.e50,
                "ordinaryBudget": c.reference,
            }
    return {} if finding.index is None else {"targetClass": finding.index}


def _invocation(result: ScanResult, gate: Gate) -> dict[str, Any]:
    done = result.status == "completed"
    notes = [{"level": "note", "message": {"text": _message(note)}} for note in gate.notes[:100]]
    if why := silence(result):
        notes.insert(0, _notification(result, f"{why} {advice(result, exit_code(result))}"))
    entry: dict[str, Any] = {
        "executionSuccessful": done,
        "exitCode": exit_code(result),
        "exitCodeDescription": words.headline(result) + (", set aside by waivers or baseline" * excused(result)),
        "toolExecutionNotifications": notes,
    }
    for key, time in (("startTimeUtc", result.started_at), ("endTimeUtc", result.finished_at)):
        if utc := seconds_of(time):
            entry[key] = f"{utc}Z"
    return entry


def _notification(result: ScanResult, text: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"level": "error", "message": {"text": _message(text)}}
    if result.error is not None:
        entry["exception"] = {"kind": plain(result.error.type, 200), "message": plain(result.error.message, _TEXT)}
    return entry


def _about(result: ScanResult, gate: Gate) -> dict[str, Any]:
    return {
        "model": plain(result.model.resolved_uri or result.model.uri, _TEXT),
        "modelDigest": result.model.digest and plain(result.model.digest, 200),
        "configDigest": result.config_digest,
        "status": result.status,
        "verdict": result.verdict,
        "score": result.score,
        "pValue": result.p_value,
        "passed": gate.passed,
        "setAside": [plain(subject(finding), 200) for finding in set_aside(result)[:100]],
    }


def _model(model: ModelInfo) -> str:
    return (
        f"{plain(model.name, 200)} {plain(model.version or '', 20)}".rstrip() if model.name else plain(model.uri, 200)
    )


def _slug(model: ModelInfo) -> str:
    """Return a model's identity as one part of a category, which slashes divide."""
    return quote(plain(identity(model), 200), safe=" ")


def _message(text: str) -> str:
    """Return a plain text message. SARIF reads braces as placeholders and brackets as links; no label may forge one."""
    message = ""
    for character in plain(text.replace("\u00a0", " "), _TEXT):
        written = _WRITTEN.get(character, character)
        if len(message) + len(written) > _TEXT:
            break
        message += written
    return message
