"""Looks at a model's files before anything is loaded: would loading run code that the model brings along?

Only bytes are read; nothing is unpickled, imported or executed. Silence does not prove a model harmless, it means
that loading takes none of the known ways to run the author's code. Every file is accounted for: what no scanner
understands is reported as such, and so is every file if the scanners do not come to an end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from smoothscan.result import ArchitectureFinding, SafetyReport
from smoothscan.safety.folder import entries
from smoothscan.safety.shipped import shipped_code
from smoothscan.sandbox.process import run

SECONDS = 180
"""Time limit for all files of a model together."""
MAX_FINDINGS = 100
"""Findings of each sort that a report lists; more say nothing new."""
_MAX_LENGTH = 400
_QUIET = {
    "DO_NOT_TRACK": "1",
    "NO_ANALYTICS": "1",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
}
"""Keeps foreign scanners from telling anybody."""


class _Account(BaseModel):
    model_config = ConfigDict(strict=True)

    understood: bool
    dangerous: list[str]
    code: list[str]
    unread: list[str]
    failures: list[str]


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)

    files: dict[str, _Account]
    scanners: dict[str, str]
    architecture: list[ArchitectureFinding]
    architecture_examined: bool


_NOTHING = _Answer(files={}, scanners={}, architecture=[], architecture_examined=False)


def check(artifact_path: Path, mlmodel: dict[str, Any]) -> SafetyReport:
    """Judge the files of a model.

    Args:
        artifact_path: private copy of the model's folder.
        mlmodel: its parsed MLmodel file.

    Returns:
        What was found, in words: the dangerous first, then files that no scanner understood, then ways in which loading
        runs code of the model's author. `needs_model_code` is true if there is any of these.
    """
    names, others = entries(artifact_path)
    answer, failure = _answer(artifact_path) if names else (_NOTHING, None)
    imported, covered = shipped_code(artifact_path, mlmodel)

    dangerous = [f"{name} is no plain file" for name in others]
    code: list[str] = []
    unexamined: list[str] = []
    unread: list[str] = []
    notes: list[str] = []
    for name in names:
        account = answer.files.get(name)
        if account is None or not account.understood:
            unexamined.append(name)
            unread += (account.unread if account else None) or [name]
        if account is not None:
            dangerous += account.dangerous
            code += account.code if name not in covered else []
            notes += account.failures
    because = failure or "no scanner understands this file"
    sorted_findings = (dangerous, [f"{name}: {because}" for name in unread], [*code, *imported], notes)
    return SafetyReport(
        needs_model_code=bool(dangerous or unexamined or code or imported),
        findings=tuple(line for findings in sorted_findings for line in _bounded(findings)),
        dangerous=_bounded(dangerous),
        unexamined=tuple(_plain(name) for name in unexamined),
        scanners={_plain(name): _plain(version) for name, version in sorted(answer.scanners.items())[:20]},
        architecture=tuple(_told(finding) for finding in answer.architecture[:MAX_FINDINGS]),
        architecture_examined=answer.architecture_examined,
    )


def _answer(folder: Path) -> tuple[_Answer, str | None]:
    """Return what the scanners say, and why they say nothing if that is so."""
    try:
        done = run(
            "smoothscan.safety", [str(folder.resolve())], read=[folder.resolve()], seconds=SECONDS, variables=_QUIET
        )
        if done.code is None:
            failure = f"the scanners took more than {SECONDS} seconds"
        elif done.code != 0:
            failure = f"the scanners ended with status {done.code}"
        else:
            return _Answer.model_validate(json.loads(done.output)), None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        failure = f"the scanners gave no answer that can be read ({type(error).__name__})"
    return _NOTHING, failure


def _told(finding: ArchitectureFinding) -> ArchitectureFinding:
    return finding.model_copy(
        update={name: _plain(value) for name, value in finding if isinstance(value, str) and name != "kind"}
    )


def _bounded(findings: list[str]) -> tuple[str, ...]:
    lines = tuple(dict.fromkeys(_plain(finding) for finding in findings))
    if len(lines) <= MAX_FINDINGS:
        return lines
    return (*lines[:MAX_FINDINGS], f"and {len(lines) - MAX_FINDINGS} more of the kind")


def _plain(text: str) -> str:
    """Return a text that may hold what the model's author wrote, without anything that a terminal would obey."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: 2 * _MAX_LENGTH])
    return shown if len(shown) <= _MAX_LENGTH else shown[:_MAX_LENGTH] + "..."
