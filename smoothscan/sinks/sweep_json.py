"""`sweep.json` and its schema. `python -m smoothscan.sinks.sweep_json` prints the schema that the package ships."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smoothscan.files import make_folder, write_atomically
from smoothscan.posture import Posture


def write_posture(posture: Posture, folder: Path) -> Path:
    """Write `sweep.json`.

    Args:
        posture: the sweep, finished or interrupted.
        folder: where to write; made if it does not exist.

    Returns:
        The file.

    Raises:
        OutputError: it could not be written; that of an earlier sweep is then as it was.
    """
    return write_atomically(make_folder(folder) / "sweep.json", to_json(posture))


def to_json(posture: Posture) -> bytes:
    """Return the sweep as indented UTF-8; equal sweeps give equal bytes.

    Fields come in the order of `Posture`, the entries of its dictionaries in alphabetical order. What is no character
    of Unicode is replaced by marks.

    Args:
        posture: the sweep.

    Returns:
        Strictly valid JSON, a line break at its end.

    Raises:
        ValueError: a number is NaN or infinite, which JSON can not say and no sweep may hold.
    """
    data = posture.model_dump(mode="json")
    for key in ("selection", "counts", "environment"):
        data[key] = json.loads(json.dumps(data[key], sort_keys=True, allow_nan=False))
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")


def schema() -> str:
    """Return the JSON schema of `sweep.json`, as the package ships it in `sweep.schema.json`."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Posture.model_json_schema()}
    return json.dumps(described, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
