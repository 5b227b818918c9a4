"""Whether a model may pass: what was found, less what is waived or was known before."""

from __future__ import annotations

from smoothscan.result import FailOn, Gate, ScanResult


def judge(result: ScanResult, fail_on: FailOn) -> ScanResult:
    """Return a result with what the gate says of it."""
    code = result.exit_code(fail_on)
    return result.model_copy(update={"gate": Gate(passed=code == 0, exit_code=code, fail_on=fail_on)})
