"""What a user may write into `evaluator_config`, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from smoothscan import InputConfig, ScanConfig, UsageError

_NOT_HERE = {"output_dir", "formats", "write_back", "set_alias", "attest", "attest_key", "sarif_anchor"}
"""Fields of ScanConfig without a meaning here: reports go to the run of the evaluation, metrics to the model."""
_OURS = {"uri", "images", "profile"}
"""Keys that tell that a scan is meant, whatever else there is: a mistyped key beside them is an error."""
_RENAMED = {"memory": "memory_bytes"}
"""Keys of smoothscan.toml that are not named like their field."""


def known() -> list[str]:
    """Return the keys that `evaluator_config` may have: those of smoothscan.toml, and `uri`."""
    fields = {name: key for key, name in _RENAMED.items()}
    return sorted(fields.get(name, name) for name in ScanConfig.model_fields if name not in _NOT_HERE)


def asked_for(config: Mapping[str, Any] | None) -> bool:
    """Tell whether a configuration is meant for this evaluator.

    MLflow hands one that names no evaluator to all of them, and other evaluators have a `seed` as well. So it is about
    a scan only if it says something that only a scan takes, or nothing that a scan does not take.
    """
    keys = set(config or ())
    return bool(keys) and (not keys.isdisjoint(_OURS) or keys <= set(known()))


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ScanConfig that a configuration gives.

    Raises:
        UsageError: it has an unknown key.
    """
    _check(config, known(), "")
    values = {_RENAMED.get(key, key): value for key, value in config.items()}
    if isinstance(values.get("input"), Mapping):
        values["input"] = _input(values["input"])
    return values


def _input(config: Mapping[str, Any]) -> dict[str, Any]:
    _check(config, ["size", *(name for name in InputConfig.model_fields if name not in ("height", "width"))], "input.")
    values = dict(config)
    if "size" in values:
        size = values.pop("size")
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise UsageError(f"input.size of evaluator_config is {size!r}, which is no size.", "Write (height, width).")
        values["height"], values["width"] = size
    return values


def _check(config: Mapping[str, Any], keys: list[str], prefix: str) -> None:
    for key in config:
        if key in keys:
            continue
        close = get_close_matches(str(key), keys, n=1)
        if not prefix and key in _NOT_HERE | {"format"}:
            hint = "Reports go to the run of the evaluation, and metrics to the model."
        else:
            hint = f"Did you mean {prefix}{close[0]}?" if close else f"Known keys: {', '.join(keys)}."
        raise UsageError(f"evaluator_config of smoothscan has an unknown key: {prefix}{key}.", hint)
