"""Decides whether a model may be loaded, from what the static check saw and what the sandbox holds."""

from __future__ import annotations

from smoothscan.errors import RefusedError
from smoothscan.result import SafetyReport


def admit(report: SafetyReport, *, allow_model_code: bool) -> None:
    """Let a model pass to the model host, or refuse it.

    Args:
        report: what the static check saw; `sandboxed` says whether the model host's sandbox holds.
        allow_model_code: whether the user trusts the model's author.

    Raises:
        RefusedError: loading would run code that must not run here.
    """
    if allow_model_code:
        return
    trust = "pass --allow-model-code if you trust its author"
    if report.dangerous:
        raise RefusedError(
            "The model's files hold what no ordinary model needs: " + "; ".join(report.dangerous) + ".",
            f"Treat the model as an attack until its author explains this; {trust}.",
        )
    if report.unexamined:
        raise RefusedError(
            "Files of the model that no scanner understands: " + ", ".join(map(repr, report.unexamined)) + ".",
            f"Remove them from the model, or {trust}.",
        )
    if report.needs_model_code and not report.sandboxed:
        raise RefusedError(
            "Loading this model would run code that it brings along: " + "; ".join(report.findings) + ".",
            "No sandbox holds on this machine (smoothscan doctor says what is missing). Log the model in MLflow's "
            f"default format, pt2, or {trust}.",
        )
