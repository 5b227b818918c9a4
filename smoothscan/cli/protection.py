"""What `smoothscan doctor` says, in words."""

from __future__ import annotations

from smoothscan.draft import environment
from smoothscan.sandbox.doctor import Examination
from smoothscan.sinks.text import plain

ATTEMPTED = ("a confined process tried to", "outcome", "by")
"""Heads of the table of attempts."""


def protected(report: Examination) -> list[str]:
    """Return the protections that hold here, those that do not, and why, a line each."""
    devices = ", ".join(report.accelerators) or "none"
    return [
        ", ".join(f"{name} {version}" for name, version in environment("").items()),
        "",
        "Protections around a model's process",
        "  separate process, without credentials, with limits on memory, processor time, file size and open files",
        *(f"  {line}" for line in report.protections.in_words()),
        f"  accelerators that it may use, unless --device cpu is given: {devices}",
        *(f"  not here: {plain(line)}" for line in report.protections.missing),
        "",
    ]


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
