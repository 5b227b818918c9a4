"""`result.json` and its schema. `python -m smoothscan.sinks.json_file` prints the schema that the package ships."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import RESULT
from smoothscan.result import ScanResult


class JsonSink:
    """Writes `result.json`."""

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `result.json`; see `Sink.write`."""
        return (write_atomically(make_folder(folder) / RESULT, to_json(result)),)


def to_json(result: ScanResult) -> bytes:
    """Return the result as indented UTF-8; equal results give equal bytes.

    Fields come in the order of `ScanResult`, the entries of its dictionaries in alphabetical order. What is no
    character of Unicode (file names may hold such bytes) is replaced by marks.

    Args:
        result: the scan.

    Returns:
        Strictly valid JSON, a line break at its end.

    Raises:
        ValueError: a number is NaN or infinite, which JSON can not say and no result may hold.
    """
    data = result.model_dump(mode="json")
    _sort(data, "config")
    _sort(data, "environment")
    _sort(data["model"], "files")
    if data["input_spec"] is not None:
        _sort(data["input_spec"], "sources")
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")


def schema() -> str:
    """Return the JSON schema of `result.json`, as the package ships it in `result.schema.json`."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ScanResult.model_json_schema()}
    return json.dumps(described, indent=2) + "\n"


def _sort(data: dict[str, Any], key: str) -> None:
    data[key] = json.loads(json.dumps(data[key], sort_keys=True, allow_nan=False))


if __name__ == "__main__":
    sys.stdout.write(schema())
