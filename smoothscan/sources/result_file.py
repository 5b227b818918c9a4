"""A result.json that an earlier scan wrote, read as what it is: a file that anybody may have changed."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from smoothscan.errors import ConfigError
from smoothscan.result import SCHEMA_VERSION, ScanResult

MOST_BYTES = 256 * 2**20
"""Largest file that is read: ten times what a scan of a thousand classes writes."""
_EXIT_CODES = range(6)


def read_result(path: Path, *, what: str = "The file", needed: str = "Pass the result.json of a scan.") -> ScanResult:
    """Read the result of a scan.

    Args:
        path: the file.
        what: what the file is to the user.
        needed: what to pass instead, where it is none.

    Raises:
        ConfigError: there is no such file, it is no result, or one of another version of the format.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}.", needed) from None
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{what} {path} is no result of a scan: it is larger than any.", needed)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{what} {path} is no result of a scan: it holds no JSON.", needed) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, str):
        raise ConfigError(f"{what} {path} is no result of a scan: it has no schema_version.", needed)
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ConfigError(
            f"{what} {path} has the schema version {version}; this smoothscan reads {SCHEMA_VERSION}.",
            "Scan that model again with this smoothscan, or use the version that wrote the file.",
        )
    try:
        result = ScanResult.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{what} {path} is no result: {where}: {first['msg'].lower()}.", needed) from None
    if result.gate is not None and result.gate.exit_code not in _EXIT_CODES:
        raise ConfigError(f"{what} {path} is no result: gate.exit_code: no scan ends with that.", needed)
    return result
