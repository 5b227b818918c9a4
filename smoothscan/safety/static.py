"""Looks at a model's files before anything is loaded: would loading run code that the model brings along?

Only bytes are read; nothing is unpickled, imported or executed. Silence does not prove a model harmless, it means
that loading takes none of the known ways to run the author's code.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from smoothscan.result import SafetyReport
from smoothscan.safety.architecture import architecture
from smoothscan.safety.pickles import pickle_globals
from smoothscan.safety.pt2 import MAX_PICKLE_BYTES, archive_findings

_IMPORTABLE = frozenset({".py", ".pyc", ".pyd", ".so", ".dylib", ".zip", ".egg", ".pth"})
_KNOWN_PACKAGES = ("torch.", "collections.", "numpy.")
_MAX_NAMES = 8


def check(artifact_path: Path, mlmodel: dict[str, Any]) -> SafetyReport:
    """Judge the files of a model.

    Args:
        artifact_path: private copy of the model's folder.
        mlmodel: its parsed MLmodel file.

    Returns:
        The findings in words; `needs_model_code` says whether loading runs code of the model's author.
    """
    code = _shipped_code(artifact_path, mlmodel)
    pickled = _pickle(artifact_path / "data" / "model.pth")
    archive = artifact_path / "data" / "model.pt2"
    exported = [f"data/model.pt2: {finding}" for finding in archive_findings(archive)] if archive.is_file() else []
    findings = (*pickled, *exported, *code)
    steps, examined = architecture(artifact_path)
    return SafetyReport(
        needs_model_code=bool(findings), findings=findings, architecture=steps, architecture_examined=examined
    )


def _pickle(path: Path) -> list[str]:
    if not path.is_file():
        return []
    finding = "data/model.pth is a pickle: loading it runs whatever code its author put in"
    names = sorted(name for name in _globals(path) if not name.startswith(_KNOWN_PACKAGES))
    if names:
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        finding += "; it refers to " + ", ".join(repr(name[:100]) for name in names[:_MAX_NAMES]) + more
    return [finding]


def _globals(path: Path) -> set[str]:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return pickle_globals(file.read(MAX_PICKLE_BYTES))
        with zipfile.ZipFile(path) as archive:
            found: set[str] = set()
            for info in archive.infolist():
                if info.filename.endswith("data.pkl"):
                    with archive.open(info) as record:
                        found |= pickle_globals(record.read(MAX_PICKLE_BYTES))
            return found
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError):
        return set()


def _shipped_code(root: Path, mlmodel: dict[str, Any]) -> list[str]:
    """Report Python that MLflow puts on the import path before it loads the model."""
    findings = []
    flavors = mlmodel.get("flavors")
    for folder in sorted({name for flavor in _dicts(flavors) if (name := _code_folder(flavor))}):
        place = (root / folder).resolve()
        if not place.is_relative_to(root.resolve()):
            findings.append(f"the code folder {folder[:100]!r} lies outside the model")
            continue
        files = [path for path in place.rglob("*") if path.suffix.lower() in _IMPORTABLE and path.is_file()]
        if files:
            shown = ", ".join(repr(path.relative_to(place).as_posix()[:100]) for path in sorted(files)[:_MAX_NAMES])
            findings.append(f"{len(files)} code file(s) are imported from {folder[:100]!r}: {shown}")
    return findings


def _dicts(flavors: Any) -> list[dict[str, Any]]:
    return [flavor for flavor in flavors.values() if isinstance(flavor, dict)] if isinstance(flavors, dict) else []


def _code_folder(flavor: dict[str, Any]) -> str | None:
    folder = flavor.get("code")
    return folder if isinstance(folder, str) and folder else None
