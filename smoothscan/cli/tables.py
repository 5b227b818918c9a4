"""What stands in a configuration file: its keys, what they mean in a ScanConfig, and how their values are read."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smoothscan.cli.options import NOT_IN_FILES
from smoothscan.cli.values import (
    parse_bytes,
    parse_formats,
    parse_numbers,
    parse_range,
    parse_seconds,
    parse_size,
    parse_spaces,
)
from smoothscan.errors import ConfigError
from smoothscan.suggestions import close_to

_READERS: dict[str, Callable[[str], Any]] = {
    "spaces": parse_spaces,
    "memory": parse_bytes,
    "time_limit": parse_seconds,
    "time_budget": parse_seconds,
    "format": parse_formats,
    "size": parse_size,
    "mean": parse_numbers,
    "std": parse_numbers,
    "value_range": parse_range,
}
FIELDS = {
    "images": "images",
    "profile": "profile",
    "spaces": "spaces",
    "pairs": "pairs",
    "sigma": "sigma",
    "denoiser": "denoiser",
    "denoising": "denoising",
    "synthesis_images": "synthesis_images",
    "calibration": "calibration",
    "seed": "seed",
    "architecture": "architecture",
    "allow_model_code": "allow_model_code",
    "labels": "labels",
    "tracking_uri": "tracking_uri",
    "registry_uri": "registry_uri",
    "write_back": "write_back",
    "output_dir": "output_dir",
    "format": "formats",
    "redact_images": "redact_images",
    "fail_on": "fail_on",
    "waivers": "waivers",
    "baseline": "baseline",
    "sarif_anchor": "sarif_anchor",
    "attest": "attest",
    "attest_key": "attest_key",
    "set_alias": "set_alias",
    "device": "device",
    "precision": "precision",
    "threads": "threads",
    "memory": "memory_bytes",
    "time_limit": "time_limit",
    "time_budget": "time_budget",
    "cache": "cache",
    "cache_dir": "cache_dir",
}
"""Keys of the file -> fields of ScanConfig; an option is named like the key, with hyphens."""
INPUT_FIELDS = {
    "size": ("height", "width"),
    "channels": ("channels",),
    "layout": ("layout",),
    "value_range": ("value_range",),
    "mean": ("mean",),
    "std": ("std",),
    "resize": ("resize",),
}
"""Keys of the file's table [input] -> fields of InputConfig."""
_PATHS = (
    "images",
    "calibration",
    "output_dir",
    "waivers",
    "baseline",
    "sarif_anchor",
    "attest_key",
    "cache_dir",
)
ON = ("write_back", "cache")
"""Keys that are on unless the file says false or the option with `--no-` is given."""
_TRUSTED = {
    "allow_model_code": "it would make the scan run foreign code: pass --allow-model-code, or --config {}",
    "cache_dir": "a result that lies there would pass for this scan's: pass --cache-dir, or --config {}",
}
"""Keys that only a file may have which the user named, and why."""
_SERVERS = ("tracking_uri", "registry_uri", "denoiser")
"""Keys that can name a server, which MLflow then sends the user's credentials to."""
_CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
)
"""Variables that MLflow sends to the server that it is told of, or makes what it sends of."""
_KEPT = "~/.mlflow/credentials"
"""Where MLflow finds them otherwise."""


@dataclass(frozen=True)
class Given:
    """Values by field, and for each field the name under which the user wrote it."""

    values: dict[str, Any]
    inputs: dict[str, Any]
    names: dict[str, str]

    def under(self, other: Given) -> Given:
        """Return both; where they disagree, what `other` says."""
        return Given(self.values | other.values, self.inputs | other.inputs, self.names | other.names)


@dataclass(frozen=True)
class File:
    """One configuration file."""

    path: Path
    """Where it lies."""
    origin: str
    """`configuration file <name>`."""
    general: Given
    """What it says of all models."""
    models: tuple[tuple[str, Given], ...]
    """Its tables [[model]], each with its pattern of names."""
    sweep: Mapping[str, Any]
    """Its table [sweep], as it stands there."""


def find_file(named: Path | None) -> Path | None:
    """Return the file that was named, else the one of the current folder; None if there is none."""
    if named is not None:
        return named
    if Path("smoothscan.toml").is_file():
        return Path("smoothscan.toml")
    project = Path("pyproject.toml")
    if project.is_file() and "smoothscan" in _load(project).get("tool", {}):
        return project
    return None


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error}") from None


def read_file(path: Path, *, named: bool, options: Collection[str] = ()) -> File:
    """Read a configuration file.

    A file that merely lies in the current folder, as part of a checkout, may do less than one that the user named: it
    cannot have foreign code run, nor results taken from where it says, nor the user's credentials sent there.

    Args:
        path: the file.
        named: whether the user named it.
        options: keys that the command line has, too, and that it therefore does not decide.

    Raises:
        ConfigError: it is wrong.
    """
    table, origin = _load(path), f"configuration file {path}"
    if path.name == "pyproject.toml":
        table = table.get("tool", {}).get("smoothscan")
        if table is None:
            raise ConfigError(f"{path} has no table [tool.smoothscan]")
    table = dict(table)
    models, sweep = table.pop("model", []), table.pop("sweep", {})
    if not isinstance(models, list) or not all(isinstance(each, dict) for each in models):
        raise ConfigError(
            f"{origin}: model is no list of tables", "write a section [[model]] for each pattern of names"
        )
    if not isinstance(sweep, dict):
        raise ConfigError(f"{origin}: sweep is not a table", "write a section [sweep]")
    refuse = (lambda *_: None) if named else partial(_refuse, path=path, options=options)
    tables = []
    for number, each in enumerate(models, 1):
        pattern = each.get("name")
        if not isinstance(pattern, str):
            raise ConfigError(f"{origin}: the section [[model]] number {number} has no name", 'write name = "signs-*"')
        rest = {key: value for key, value in each.items() if key != "name"}
        tables.append((pattern, _read_table(rest, path, f"{origin}, model {pattern}", refuse)))
    sweep = {key.replace("-", "_"): value for key, value in sweep.items()}
    if isinstance(ledger := sweep.get("ledger"), str) and "://" not in ledger:
        sweep["ledger"] = str(path.parent / ledger)
    return File(path, origin, _read_table(table, path, origin, refuse), tuple(tables), sweep)


def _read_table(table: dict[str, Any], path: Path, origin: str, refuse: Callable[[str, Any, str], None]) -> Given:
    """Read what a file says of all models, or of some."""
    given = Given({}, {}, {})
    table = {key.replace("-", "_"): value for key, value in table.items()}
    inputs = table.pop("input", {})
    if not isinstance(inputs, dict):
        raise ConfigError(f"{origin}: input is not a table", "write a section [input]")
    for key, value in table.items():
        _known(key, [*FIELDS, "input", "model", "sweep"], origin, "")
        refuse(key, value, origin)
        given.values[FIELDS[key]] = _value(key, value, path.parent, origin)
        given.names[FIELDS[key]] = f"{origin}: {key}"
    for key, value in inputs.items():
        plain = key.replace("-", "_")
        _known(plain, list(INPUT_FIELDS), origin, "input.")
        spread(given, plain, _value(plain, value, path.parent, origin), f"{origin}: input.{plain}")
    return given


def _refuse(key: str, value: Any, origin: str, *, path: Path, options: Collection[str]) -> None:
    """Refuse what only a file may say that the user named.

    Raises:
        ConfigError: it may not.
    """
    if key in _TRUSTED and value is not False:
        raise ConfigError(f"{origin} asks for {key}, but was not named on the command line", _TRUSTED[key].format(path))
    # A folder, an id of a hub, and what lies in the registry are no servers of their own.
    is_server = key in _SERVERS and (key != "denoiser" or "://" in str(value))
    decided = {key} if key == "denoiser" else {key, "tracking_uri"}
    if not is_server or decided & set(options):
        return
    known = [name for name in _CREDENTIALS if os.environ.get(name)]
    known += [_KEPT] if Path(_KEPT).expanduser().is_file() else []
    if known:
        raise ConfigError(
            f"{origin} sets {key}, but was not named on the command line: that server would get the credentials of "
            f"{' and '.join(known)}",
            f"pass --{key.replace('_', '-')}, or --config {path} if you trust the file",
        )


def spread(given: Given, key: str, value: Any, name: str) -> None:
    """File the value of an input key under its fields; `size` has two."""
    fields = INPUT_FIELDS[key]
    if len(fields) == 1:
        value = (value,)
    elif not isinstance(value, list | tuple) or len(value) != len(fields):
        raise ConfigError(f"{name}: {value!r} is not a size", 'write "224x224" (height x width) or [224, 224]')
    for field, part in zip(fields, value, strict=True):
        given.inputs[field] = part
        given.names[field] = name


def _value(key: str, value: Any, folder: Path, origin: str) -> Any:
    """Read one value of a file; its paths are relative to its folder."""
    if isinstance(value, str):
        if key in _PATHS or key == "labels":
            return folder / value
        if key == "denoiser" and (folder / value).is_dir():  # else an id, or a URI
            return str(folder / value)
        if key in _READERS:
            try:
                return _READERS[key](value)
            except ValueError as error:
                raise ConfigError(f"{origin}: {key}: {error}") from None
    return value


def _known(key: str, keys: list[str], origin: str, prefix: str) -> None:
    if key in keys:
        return
    option = "--" + key.replace("_", "-")
    if option in NOT_IN_FILES:
        hint = f"pass {option} on the command line; a file cannot say that"
    elif not prefix and key in (*INPUT_FIELDS, "input_size"):
        hint = f"write {key.removeprefix('input_')} in the table [input]"
    elif prefix and key == "input_size":
        hint = "write size"
    elif prefix and key in FIELDS:
        hint = f"write {key} outside of the table [input], above it"
    elif (close := close_to(key, keys)) is not None:
        hint = f"did you mean {prefix}{close}?"
    else:
        hint = f"known keys: {', '.join(keys)}"
    raise ConfigError(f"{origin} has an unknown key: {prefix}{key}", hint)
