"""A result.json that an earlier scan wrote, read as what it is: a file that anybody may have changed."""

from __future__ import annotations

from pathlib import Path

from smoothscan.errors import ConfigError
from smoothscan.result import SCHEMA_VERSION, ScanResult
from smoothscan.sources.versioned_json import read_versioned

_KIND = "result of a scan"
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
    result = read_versioned(
        path,
        ScanResult,
        SCHEMA_VERSION,
        what=what,
        kind=_KIND,
        needed=needed,
        outdated="Scan that model again with this smoothscan, or use the version that wrote the file.",
    )
    if result.gate is not None and result.gate.exit_code not in _EXIT_CODES:
        raise ConfigError(f"{what} {path} is no {_KIND}: gate.exit_code: no scan ends with that.", needed)
    return result
