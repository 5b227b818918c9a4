"""What `smoothscan doctor` says, in words."""

from __future__ import annotations

from typing import Any

from smoothscan.sandbox.doctor import Examination
from smoothscan.sinks.text import plain

ATTEMPTED = ("a confined process tried to", "outcome", "by")
"""Heads of the table of attempts."""


def protected(report: Examination) -> list[str]:
    """Return the protections that hold here, those that do not, and why, a line each."""
    devices = ", ".join(report.accelerators) or "none"
    return [
        "",
        "Protections around a model's process",
        "  separate process, without credentials, with limits on memory, processor time, file size and open files",
        *(f"  {line}" for line in report.protections.in_words()),
        f"  accelerators that it may use, unless --device cpu is given: {devices}",
        *(f"  not here: {plain(line)}" for line in report.protections.missing),
        "",
    ]


def as_data(report: Examination) -> dict[str, Any]:
    """Return everything for programs."""
    return {
        "holds": report.holds,
        "protections": list(report.protections.in_words()),
        "missing": [plain(line) for line in report.protections.missing],
        "accelerators": list(report.accelerators),
        "attempts": [{"attempt": what, "stopped_by": plain(by) or None} for what, by in report.attempts.items()],
        "trouble": plain(report.trouble),
    }


def examined(report: Examination) -> list[tuple[str, str, str]]:
    """Return what was tried from inside, and what became of it."""
    return [(what, "stopped" if by else "SUCCEEDED", plain(by)) for what, by in report.attempts.items()]


def advice(report: Examination) -> list[str]:
    """Return what follows from all that, and what to do."""
    if report.holds:
        return ["The sandbox holds: pickles and other models that bring code along are loaded inside it."]
    lines = ["The sandbox does not hold: models that bring code along are refused, unless --allow-model-code is given."]
    if report.trouble:
        lines.append(plain(report.trouble))
    if report.protections.missing:
        lines.append("One of these is enough: bubblewrap that may make namespaces, or Linux 6.2 with libseccomp2.")
    return lines
