"""The baseline of a gate: the result.json of an earlier scan, whose findings are known."""

from __future__ import annotations

from pathlib import Path

from smoothscan.errors import ConfigError
from smoothscan.result import ScanResult
from smoothscan.sources.result_file import read_result

_NEEDED = "Pass the result.json of a completed scan of the same registered model."


def read_baseline(path: Path) -> ScanResult:
    """Read a result to compare with.

    Raises:
        ConfigError: there is no such file, it is no result, one of another version of the format, or of a scan that did
            not complete.
    """
    result = read_result(path, what="The baseline", needed=_NEEDED)
    if result.status != "completed":
        raise ConfigError(
            f"The baseline {path} is a scan that did not complete ({result.status}), so nothing is known from it.",
            _NEEDED,
        )
    return result
