"""Results that were judged, of a model of three files."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from smoothscan.result import Finding, Gate, ScanResult

from .samples import Sample, clean

FILES = {"MLmodel": "a" * 64, "data/model.pt2": "b" * 64, "a file": "c" * 64}
NOW = datetime.fromisoformat(str(clean().result.finished_at)) + timedelta(days=1)


def folder_digest(files: dict[str, str]) -> str:
    """What `sha256sum` over all files says, hashed."""
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())).encode()).hexdigest()


def judged(sample: Sample, *, passed: bool, findings: tuple[Finding, ...] = (), **changes: Any) -> ScanResult:
    model = sample.result.model.model_copy(update={"files": FILES, "digest": f"sha256:{folder_digest(FILES)}"})
    gate = Gate(passed=passed, exit_code=0 if passed else 1, fail_on="suspicious", findings=findings)
    return sample.result.model_copy(update={"model": model, "gate": gate, **changes})


def finding(index: int | None, state: str, rule: str = "target-class") -> Finding:
    return Finding.model_validate(
        {"rule": rule, "index": index, "message": "found", "fingerprint": "f", "state": state}
    )
