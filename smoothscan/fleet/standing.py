"""From results, old and new, to what a sweep says of each version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from smoothscan.fleet.ledger import Entry
from smoothscan.fleet.plan import Planned
from smoothscan.posture import Action, Standing
from smoothscan.result import ScanResult, WriteBack
from smoothscan.sinks.findings import own_notes, set_aside, state, subject
from smoothscan.sinks.mlflow_registry import VALID_FOR
from smoothscan.sources.inventory import Registered

_OF_THE_RESULT = {
    "status",
    "verdict",
    "score",
    "p_value",
    "target_classes",
    "labels",
    "reason",
    "passed",
    "exit_code",
    "waived",
    "set_aside",
    "gate_notes",
    "model_digest",
    "config_digest",
    "scanned_at",
    "expires_at",
    "seconds",
}


def described(version: Registered) -> dict[str, Any]:
    """Return what the registry says of a version."""
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "aliases": version.aliases,
        "stage": version.stage,
    }


def found(result: ScanResult) -> dict[str, Any]:
    """Return what a result says of a version."""
    names = {entry.index: entry.label for entry in result.classes}
    finished = datetime.fromisoformat(result.finished_at) if result.finished_at else datetime.now(UTC)
    gate = result.gate
    return {
        "status": result.status,
        "verdict": result.verdict,
        "score": result.score,
        "p_value": result.calibration.p_value if result.calibration else result.p_value,
        "target_classes": result.target_classes,
        "labels": tuple(names.get(index, str(index)) for index in result.target_classes),
        "reason": result.reasons[0] if result.reasons else "",
        "passed": gate.passed if gate else None,
        "exit_code": gate.exit_code if gate else None,
        "waived": sum(finding.state == "waived" for finding in gate.findings) if gate else 0,
        "set_aside": tuple(f"{subject(finding)} is {state(finding)}." for finding in set_aside(result)),
        "gate_notes": own_notes(gate) if gate else (),
        "model_digest": result.model.digest,
        "config_digest": result.config_digest,
        "scanned_at": finished.isoformat(timespec="seconds"),
        "expires_at": (finished + VALID_FOR).isoformat(timespec="seconds"),
        "seconds": result.cost.seconds,
    }


def standing_of(planned: Planned, result: ScanResult, action: Action, **more: Any) -> Standing:
    """Return what a sweep says of a version with a result.

    Args:
        planned: the version.
        result: its newest result, judged.
        action: what the sweep did.
        more: further fields of `Standing`.
    """
    return Standing(
        **described(planned.version),
        **found(result),
        action=action,
        due=planned.due,
        write_back=result.write_back,
        **more,
    )


def standing_so_far(planned: Planned, action: Action, **more: Any) -> Standing:
    """Return what a sweep says of a version that it did not scan, from what the ledger says of it in short.

    Args:
        planned: the version.
        action: what the sweep did.
        more: further fields of `Standing`.
    """
    entry = planned.known
    known = {} if entry is None else summary_of(entry)
    return Standing(**{**known, **described(planned.version), "action": action, "due": planned.due, **more})


def summary(planned: Planned, result: ScanResult) -> str:
    """Return what the ledger keeps of a result beside it, so that a sweep need not read thousands of them."""
    return standing_of(planned, result, "scanned").model_dump_json(include=_OF_THE_RESULT)


def summary_of(entry: Entry) -> dict[str, Any]:
    """Read what the ledger keeps of a result in short."""
    kept = {} if entry.summary is None else json.loads(entry.summary)
    written = WriteBack() if entry.write_back is None else WriteBack.model_validate_json(entry.write_back)
    return {**kept, "write_back": written}
