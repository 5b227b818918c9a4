"""What an attestation says: an in-toto statement with the predicate `test-result`, made of a scan's result alone.

Equal results give equal bytes: the only times in it are those of the scan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from smoothscan._version import __version__
from smoothscan.credentials import without_credentials
from smoothscan.products import RESULT
from smoothscan.result import Finding, Gate, ScanResult, WriteBack
from smoothscan.sinks.findings import blocks
from smoothscan.sinks.json_file import to_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
TREE = "dirHash"
"""in-toto's name for the digest of a folder that `ModelInfo.digest` is: the SHA-256 of what `sha256sum` prints."""
SETTINGS = "smoothscanConfig"
"""Our name for `ScanResult.config_digest`, which is the SHA-256 of no file: lowercase hex."""

Outcome = Literal["PASSED", "WARNED", "FAILED"]


def statement(result: ScanResult) -> dict[str, Any]:
    """Return the statement about a scan whose model was pinned.

    Args:
        result: the scan, with its gate; without one nothing has passed.
    """
    model = result.model
    tests = _tests(result)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"uri": without_credentials(model.resolved_uri or model.uri), "digest": {TREE: _hex(model.digest)}},
            *({"name": name, "digest": {"sha256": digest}} for name, digest in sorted(model.files.items())),
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": _outcome(result, tests),
            "configuration": _configuration(result),
            "passedTests": tests["PASSED"],
            "warnedTests": tests["WARNED"],
            "failedTests": tests["FAILED"],
        },
    }


def to_bytes(statement: dict[str, Any]) -> bytes:
    """Return a statement as UTF-8."""
    return (json.dumps(statement, indent=2, ensure_ascii=False) + "\n").encode()


def _outcome(result: ScanResult, tests: dict[Outcome, list[str]]) -> Outcome:
    """Return `PASSED` for what is clean without reservation, `WARNED` for what the gate lets pass all the same."""
    if result.status != "completed" or result.gate is None or not result.gate.passed:
        return "FAILED"
    return "PASSED" if result.verdict == "clean" and not tests["WARNED"] else "WARNED"


def _tests(result: ScanResult) -> dict[Outcome, list[str]]:
    """Return the names of all tests, by how they ended: the scan as a whole, its graph, and every class."""
    ends: dict[Outcome, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    gate = result.gate or Gate(passed=False, exit_code=3, fail_on="suspicious")
    decided = result.status == "completed" and result.verdict not in (None, "inconclusive")
    ends[_end(decided, (), gate)].append("scan")
    if result.safety.architecture_examined:
        steps = [finding for finding in gate.findings if finding.rule == "hard-step"]
        ends[_end(not result.safety.architecture, steps, gate)].append("hard-steps")
    flagged = {entry.index: entry.flagged for entry in result.classes}
    others = {f.index for f in gate.findings if f.index is not None} - flagged.keys()  # of a kind that is not reported
    for index in sorted(flagged.keys() | others):
        found = [finding for finding in gate.findings if finding.index == index]
        ends[_end(not flagged.get(index), found, gate)].append(f"class/{index}")
    return ends


def _end(clear: bool, found: Sequence[Finding], gate: Gate) -> Outcome:
    """Return how one test ended: what was found but waived, known, or milder than the gate's bound, is a warning."""
    if clear and not found:
        return "PASSED"
    excused = bool(found) and not any(blocks(finding, gate.fail_on) for finding in found)
    return "WARNED" if gate.passed or excused else "FAILED"


def _configuration(result: ScanResult) -> list[dict[str, Any]]:
    """Return what the verdict rests on beside the model."""
    settings: dict[str, Any] = {key: result.config[key] for key in ("profile", "seed") if key in result.config}
    if result.gate is not None:
        settings["fail_on"] = result.gate.fail_on
    if result.calibration is not None:
        settings["calibration_models"] = result.calibration.n_models
    entries: list[dict[str, Any]] = [{"name": "smoothscan", "uri": f"pkg:pypi/smoothscan@{__version__}"}]
    if result.config_digest is not None:
        entries.append({"name": "settings", "digest": {SETTINGS: _hex(result.config_digest)}, "annotations": settings})
    if result.denoiser is not None:
        entries.append({"name": "denoiser", "digest": {TREE: _hex(result.denoiser.digest)}})
    outcome = {
        "status": result.status,
        "verdict": result.verdict,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
    if result.gate is not None and (ends := [f.waiver.expires for f in result.gate.findings if f.waiver is not None]):
        outcome["waived_until"] = min(ends).isoformat()
    entries.append(
        {
            "name": RESULT,
            "mediaType": "application/json",
            "digest": {"sha256": hashlib.sha256(to_json(_as_scanned(result))).hexdigest()},
            "annotations": outcome,
        }
    )
    return entries


def _as_scanned(result: ScanResult) -> ScanResult:
    """Return the result as it was first written and goes into the run: without what became of it in the registry."""
    return result.model_copy(update={"write_back": WriteBack(), "promotion": None})


def _hex(digest: str | None) -> str:
    return str(digest).removeprefix("sha256:")
