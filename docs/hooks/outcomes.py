"""The reference of exit codes, errors and tags, from the code that makes them."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

from commands import commands
from words import defined, plain, prose, table

from smoothscan import errors
from smoothscan.result import ScanResult
from smoothscan.sinks.mlflow_registry import version_tags
from smoothscan.sinks.runs import PREFIX

EXIT_CODES = """# Exit codes, errors and tags

## Exit codes

What `smoothscan check` exits with:

| code | meaning |
|---|---|
| 0 | clean: no trigger found under this budget |
| 1 | flagged as suspicious or backdoored, see [`--fail-on`](cli.md#check--fail-on) |
| 2 | usage error, nothing was scanned |
| 3 | the scan failed, or was refused as unsafe |
| 4 | inconclusive: the scan ran but cannot say |
| 5 | unsupported model |

130 and 143 mean that the command was stopped by Ctrl-C or by SIGTERM. Other commands give the same numbers the same
sense; what differs stands with each command:
"""

ERRORS = """## Errors

What went wrong stands on standard error, with a hint what to do, and under `error` in [result.json](result.md). From
Python the same classes are raised if nothing was scanned, and else recorded in the result.
"""

TAGS = {
    "verdict": "The verdict; without one the status of the scan: `failed`, `refused`, `timed_out`, `unsupported`.",
    "score": "How suspect the model is, in [0, 1]: sort by it.",
    "target_classes": "Classes held to be targets, as a JSON list.",
    "model_digest": "Digest of the files that were scanned.",
    "config_digest": "Digest of the settings, of images, calibration and program too.",
    "scanned_at": "When, in UTC.",
    "version": "Version of smoothscan.",
    "run_id": "MLflow run with the report.",
    "expires_at": "When the model should be scanned again: after 90 days.",
}
"""What each tag says. A test compares them with the tags that are set."""

ABOUT_TAGS = """## Tags

Tags on the model version are for people. Whoever may edit a model may edit its tags, so no decision of smoothscan rests
on them. A failed scan replaces an older `clean`.
"""


def page() -> str:
    """Return the page."""
    others = [
        f"[`{context.command_path.removeprefix('smoothscan ')}`](cli.md#{'-'.join(context.command_path.split()[1:])})"
        for context, command in commands()
        if "Exit codes" in (command.epilog or "") and context.parent is not None and command.name != "check"
    ]
    rows = [[f"`{name}`", str(code), status, prose(text)] for name, code, status, text in _errors()]
    tags = [defined(f"`{PREFIX}{tag}`", f"tag-{tag}", [plain_but_code(text)]) for tag, text in TAGS.items()]
    return "\n\n".join(
        [
            EXIT_CODES,
            ", ".join(others) + ".",
            ERRORS,
            table(["error", "exit code", "status", "what happened"], rows),
            ABOUT_TAGS,
            "\n".join(tags),
            "The MLflow run has the same in more detail, and the report as an artifact.",
        ]
    )


def plain_but_code(text: str) -> str:
    """Return words in which only backquotes mean something."""
    return prose(text) if "`" in text else plain(text)


def tags_of_the_code() -> set[str]:
    """Return the tags that a model version gets."""
    now = datetime.now(UTC).isoformat()
    empty = {"status": "failed", "model": {"uri": "models:/m/1"}, "started_at": now, "finished_at": now}
    return set(version_tags(ScanResult.model_validate(empty), None))


def _errors() -> list[tuple[str, int, str, str]]:
    found = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.SmoothscanError)
    ]
    found.sort(key=lambda each: (each.exit_code, len(each.__mro__), each.__name__))
    return [
        # A mistake in the command ends before there is a result that could have a status.
        (each.__name__, each.exit_code, "" if each.exit_code == 2 else each.status, (each.__doc__ or "").split("\n")[0])
        for each in found
    ]
