"""`smoothscan doctor` says what holds, by trying."""

from __future__ import annotations

import pytest

from smoothscan.sandbox.protections import protections

from .program import Run


@pytest.mark.skipif(not protections().hold, reason="no sandbox holds here")
def test_a_machine_whose_sandbox_holds(smoothscan: Run) -> None:
    done = smoothscan("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" not in done.stdout
    assert done.stdout.count("stopped") == 12
    assert done.stdout.splitlines()[-1].startswith("The sandbox holds")


def test_a_machine_without_protections(smoothscan: Run) -> None:
    done = smoothscan("doctor", protected=False)
    assert done.returncode == 1, done.stderr
    for part in ("NOT held here: no network", "SUCCEEDED", "--allow-model-code", "bubblewrap", "libseccomp2"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr
