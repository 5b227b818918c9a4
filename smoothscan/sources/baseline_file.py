"""The baseline of a gate: the result.json of an earlier scan, whose findings are known."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from smoothscan.errors import ConfigError
from smoothscan.result import SCHEMA_VERSION, ScanResult

_NEEDED = "Pass the result.json of a completed scan of the same registered model."


def read_baseline(path: Path) -> ScanResult:
    """Read a result to compare with.

    Raises:
        ConfigError: there is no such file, it is no result, one of another version of the format, or of a scan that did
            not complete.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The baseline {path} cannot be read: {error.strerror}.", _NEEDED) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"The baseline {path} is no result of a scan: it holds no JSON.", _NEEDED) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, str):
        raise ConfigError(f"The baseline {path} is no result of a scan: it has no schema_version.", _NEEDED)
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ConfigError(
            f"The baseline {path} has the schema version {version}; this smoothscan reads {SCHEMA_VERSION}.",
            "Scan that model again with this smoothscan.",
        )
    try:
        result = ScanResult.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"The baseline {path} is no result: {where}: {first['msg'].lower()}.", _NEEDED) from None
    if result.status != "completed":
        raise ConfigError(
            f"The baseline {path} is a scan that did not complete ({result.status}), so nothing is known from it.",
            _NEEDED,
        )
    return result
