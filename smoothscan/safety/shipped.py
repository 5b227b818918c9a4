"""Code that the MLmodel file has MLflow import before it loads the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_IMPORTABLE = frozenset({".py", ".pyc", ".pyd", ".so", ".dylib", ".zip", ".egg", ".pth"})
_MAX_NAMES = 8


def shipped_code(root: Path, mlmodel: dict[str, Any]) -> tuple[list[str], set[str]]:
    """Return findings in words, and the files that they are about, by path inside the model's folder."""
    findings: list[str] = []
    covered: set[str] = set()
    flavors = _dicts(mlmodel.get("flavors"))
    for folder in sorted({name for flavor in flavors if (name := _text(flavor, "code"))}):
        place = (root / folder).resolve()
        if not place.is_relative_to(root.resolve()):
            findings.append(f"the code folder {folder[:100]!r} lies outside the model")
            continue
        files = sorted(path for path in place.rglob("*") if path.suffix.lower() in _IMPORTABLE and path.is_file())
        covered |= {path.relative_to(root.resolve()).as_posix() for path in files}
        if files:
            shown = ", ".join(repr(path.relative_to(place).as_posix()[:100]) for path in files[:_MAX_NAMES])
            findings.append(f"{len(files)} code file(s) are imported from {folder[:100]!r}: {shown}")
    for module in sorted({name for flavor in flavors if (name := _text(flavor, "loader_module"))}):
        if module.split(".")[0] != "mlflow":
            findings.append(f"the model is loaded by the module {module[:100]!r}, which is none of MLflow's")
    for script in sorted({name for flavor in flavors if (name := _text(flavor, "model_code_path"))}):
        findings.append(f"the model is made by the script {script[:100]!r}")
    return findings, covered


def _dicts(flavors: Any) -> list[dict[str, Any]]:
    return [flavor for flavor in flavors.values() if isinstance(flavor, dict)] if isinstance(flavors, dict) else []


def _text(flavor: dict[str, Any], key: str) -> str | None:
    value = flavor.get(key)
    return value if isinstance(value, str) and value else None
