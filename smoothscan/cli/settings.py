"""Options and configuration file -> ScanConfig, with a note of where each part of it came from."""

from __future__ import annotations

import dataclasses
import json
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smoothscan.cli.values import (
    parse_bytes,
    parse_formats,
    parse_numbers,
    parse_range,
    parse_seconds,
    parse_size,
    parse_spaces,
)
from smoothscan.config import InputConfig, ScanConfig
from smoothscan.credentials import without_credentials
from smoothscan.errors import ConfigError
from smoothscan.publish import Provenance
from smoothscan.sources import registered_name

OPTION = "option"
"""How a part of the input specification that came from the command line is marked in the result."""

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
# Keys of the file -> fields of ScanConfig; an option is named like the key, with hyphens.
_FIELDS = {
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
# Keys of the file's table [input] -> fields of InputConfig.
_INPUT_FIELDS = {
    "size": ("height", "width"),
    "channels": ("channels",),
    "layout": ("layout",),
    "value_range": ("value_range",),
    "mean": ("mean",),
    "std": ("std",),
    "resize": ("resize",),
}
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
_ON = ("write_back", "cache")
"""Keys that are on unless the file says false or the option with `--no-` is given."""


@dataclass(frozen=True)
class Settings:
    """One command's configuration and where it came from."""

    config: ScanConfig
    """What to scan and how."""
    input_sources: Mapping[str, str]
    """For each field of `config.input` that was given, and for `labels`: `option` or `configuration file <name>`."""
    provenance: Provenance
    """A command that repeats the scan, configuration file included and without credentials, and the anchor file."""
    file: str | None = None
    """`configuration file <name>`, if one was read."""


@dataclass(frozen=True)
class _Given:
    """Values by field, and for each field the name under which the user wrote it."""

    values: dict[str, Any]
    inputs: dict[str, Any]
    names: dict[str, str]

    def under(self, other: _Given) -> _Given:
        """Return both; where they disagree, what `other` says."""
        return _Given(self.values | other.values, self.inputs | other.inputs, self.names | other.names)


@dataclass
class Choices:
    """Options and the configuration file, before it is known which model they are for."""

    options: _Given
    """What stands on the command line."""
    general: _Given
    """What the file says of all models."""
    models: tuple[tuple[str, _Given], ...]
    """Its tables [[model]], each with its pattern of names."""
    sweep: Mapping[str, Any]
    """Its table [sweep], as it stands there."""
    file: Path | None
    """The file, if one was read."""
    origin: str | None
    """`configuration file <name>`."""
    known: dict[tuple[bool, ...], tuple[_Given, Path | None]] = dataclasses.field(default_factory=dict)
    """What models that the same tables are about have in common."""

    def of(self, uri: str) -> Settings:
        """Return the settings for one model: options win over the tables that match its name, these over the rest.

        Raises:
            ConfigError: they are wrong, or there are no images.
        """
        name = registered_name(uri)
        which = tuple(name is not None and fnmatchcase(name, pattern) for pattern, _ in self.models)
        if which not in self.known:
            self.known[which] = self._merged(which)
        given, labels_file = self.known[which]
        try:
            config = ScanConfig(uri=uri, input=InputConfig(**given.inputs), **given.values)
        except ValidationError as error:
            raise _readable(error, given.names) from None
        fields = [*given.inputs, *(["labels"] if "labels" in given.values else [])]
        sources = {each: OPTION if _is_option(given.names[each]) else str(self.origin) for each in fields}
        provenance = Provenance(command_line(config, labels_file), _anchor(config.sarif_anchor, self.file))
        return Settings(config, sources, provenance, self.origin)

    def common(self, folder: str) -> ScanConfig:
        """Return what holds for a command on many models as a whole.

        Args:
            folder: where it writes unless the user says otherwise.
        """
        given = self.general.under(self.options)
        values = {"output_dir": Path(folder), "images": Path(), **given.values, "labels": None}
        try:
            return ScanConfig(uri="", input=InputConfig(**given.inputs), **values)
        except ValidationError as error:
            raise _readable(error, given.names) from None

    def _merged(self, which: Sequence[bool]) -> tuple[_Given, Path | None]:
        merged = self.general
        for (_, table), matches in zip(self.models, which, strict=True):
            merged = merged.under(table) if matches else merged
        merged = merged.under(self.options)
        if "images" not in merged.values:
            raise ConfigError("there is no folder of images to scan with", "pass --images DIR; labels are not needed")
        labels_file = merged.values["labels"] if isinstance(merged.values.get("labels"), Path) else None
        if labels_file is not None:
            merged.values["labels"] = read_labels(labels_file)
        return merged, labels_file


def resolve(options: Mapping[str, Any], *, use_file: bool = True) -> Settings:
    """Put options over the configuration file and return the settings of the scan.

    Args:
        options: the options that were given, by parameter name, `uri` and `config_file` included.
        use_file: whether to look for a configuration file.

    Raises:
        ConfigError: an option or the file is wrong.
    """
    return choices(options, use_file=use_file).of(str(options["uri"]))


def choices(options: Mapping[str, Any], *, use_file: bool = True) -> Choices:
    """Read options and configuration file, for one model or for many.

    Args:
        options: the options that were given, by parameter name, `config_file` included.
        use_file: whether to look for a configuration file.

    Raises:
        ConfigError: the file is wrong.
    """
    given = _read_options(options)
    file = _find(options.get("config_file")) if use_file else None
    if file is None:
        return Choices(given, _Given({}, {}, {}), (), {}, None, None)
    return _read_file(file, given, named=options.get("config_file") is not None)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the names of classes, in the order of the model's outputs.

    Args:
        path: a text file with a name a line, or JSON: a list, a table from index to name, or a model's config.json
            with `id2label`.

    Raises:
        ConfigError: the file can not be read as any of these.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the labels file {path} cannot be read: {error}") from None
    if not text.lstrip().startswith(("[", "{")):
        lines = tuple(line.strip() for line in text.rstrip().splitlines())
        if not lines or not all(lines):
            raise ConfigError(f"the labels file {path} is empty or has an empty line", "write one name a line")
        return lines
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"the labels file {path} is no valid JSON: {error}") from None
    if isinstance(data, dict):
        data = data.get("id2label", data)
    if isinstance(data, dict):
        if set(data) != {str(index) for index in range(len(data))}:
            raise ConfigError(f"the labels file {path} does not name every class from 0 to {len(data) - 1}")
        data = [data[str(index)] for index in range(len(data))]
    if not isinstance(data, list) or not data or not all(isinstance(name, str) for name in data):
        raise ConfigError(f"the labels file {path} holds no names", 'write ["cat", "dog", ...] or {"0": "cat", ...}')
    return tuple(data)


def command_line(config: ScanConfig, labels_file: Path | None = None) -> str:
    """Return a command that repeats the scan of `config`, ready for a shell; credentials in URIs are left out."""
    fields = ScanConfig.model_fields
    words = ["smoothscan", "check", without_credentials(config.uri)]
    words += ["--images", str(config.images), "--seed", str(config.seed)]
    for key, field in _FIELDS.items():
        value = getattr(config, field)
        if key in ("images", "seed", "labels") or value == fields[field].default:
            continue
        if key in _ON:
            words.append(_option(f"no_{key}"))
        elif value is True:
            words.append(_option(key))
        elif isinstance(value, tuple):
            words += [_option(key), ",".join(map(str, value))]
        else:
            words += [_option(key), without_credentials(str(value))]
    words += _input_words(config.input)
    if labels_file is not None:
        words += ["--labels", str(labels_file)]
    return shlex.join(words)


def _anchor(chosen: Path | None, file: Path | None) -> str:
    """Return where code scanning shows findings: a file of the repository, whose root is the current folder."""
    here = Path.cwd().resolve()
    path = (chosen or file or Path("smoothscan.toml")).resolve()
    if path.is_relative_to(here) and (chosen is None or path.is_file()):
        return path.relative_to(here).as_posix()
    if chosen is None:
        return Provenance.anchor
    raise ConfigError(
        f"the anchor file {chosen} is no file in the current folder or below it",
        "name a file of the repository, and start smoothscan at its root: code scanning shows findings at that file",
    )


def _input_words(config: InputConfig) -> list[str]:
    words = []
    if config.height is not None and config.width is not None:
        words += ["--input-size", f"{config.height}x{config.width}"]
    for key in ("channels", "layout", "value_range", "mean", "std", "resize"):
        value = getattr(config, key)
        if value != InputConfig.model_fields[key].default:
            words += [_option(key), ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    # "--value-range -1,1" would read its value as an option.
    return [f"{a}={b}" for a, b in zip(words[::2], words[1::2], strict=True)]


def _find(named: Path | None) -> Path | None:
    """The file that was named, else the one of the current folder."""
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


def _read_file(path: Path, options: _Given, *, named: bool) -> Choices:
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
    tables = []
    for number, each in enumerate(models, 1):
        pattern = each.get("name")
        if not isinstance(pattern, str):
            raise ConfigError(f"{origin}: the section [[model]] number {number} has no name", 'write name = "signs-*"')
        rest = {key: value for key, value in each.items() if key != "name"}
        tables.append((pattern, _read_table(rest, path, f"{origin}, model {pattern}", named=named)))
    sweep = {key.replace("-", "_"): value for key, value in sweep.items()}
    if isinstance(ledger := sweep.get("ledger"), str) and "://" not in ledger:
        sweep["ledger"] = str(path.parent / ledger)
    return Choices(options, _read_table(table, path, origin, named=named), tuple(tables), sweep, path, origin)


def _read_table(table: dict[str, Any], path: Path, origin: str, *, named: bool) -> _Given:
    """Read what a file says of all models, or of some."""
    given = _Given({}, {}, {})
    table = {key.replace("-", "_"): value for key, value in table.items()}
    inputs = table.pop("input", {})
    if not isinstance(inputs, dict):
        raise ConfigError(f"{origin}: input is not a table", "write a section [input]")
    for key, value in table.items():
        _known(key, [*_FIELDS, "input", "model", "sweep"], origin, "")
        if key == "allow_model_code" and value and not named:
            # A file that merely lies in the current folder must not make the scan run foreign code.
            raise ConfigError(
                f"{origin} asks for allow_model_code, but was not named on the command line",
                f"pass --allow-model-code, or --config {path}",
            )
        given.values[_FIELDS[key]] = _value(key, value, path.parent, origin)
        given.names[_FIELDS[key]] = f"{origin}: {key}"
    for key, value in inputs.items():
        plain = key.replace("-", "_")
        _known(plain, list(_INPUT_FIELDS), origin, "input.")
        _spread(given, plain, _value(plain, value, path.parent, origin), f"{origin}: input.{plain}")
    return given


def _read_options(options: Mapping[str, Any]) -> _Given:
    given = _Given({}, {}, {})
    for parameter, value in options.items():
        key = {"formats": "format", "input_size": "size"}.get(parameter, parameter)
        off = key.removeprefix("no_") in _ON
        key = key.removeprefix("no_") if off else key
        if key in _INPUT_FIELDS:
            _spread(given, key, value, _option(parameter))
        elif key in _FIELDS:
            given.values[_FIELDS[key]] = not value if off else value
            given.names[_FIELDS[key]] = _option("format" if parameter == "formats" else parameter)
    return given


def _spread(given: _Given, key: str, value: Any, name: str) -> None:
    """File the value of an input key under its fields; `size` has two."""
    fields = _INPUT_FIELDS[key]
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
    close = get_close_matches(key, keys, n=1)
    if not prefix and key in (*_INPUT_FIELDS, "input_size"):
        hint = f"write {key.removeprefix('input_')} in the table [input]"
    elif close:
        hint = f"did you mean {prefix}{close[0]}?"
    else:
        hint = f"known keys: {', '.join(keys)}"
    raise ConfigError(f"{origin} has an unknown key: {prefix}{key}", hint)


def _readable(error: ValidationError, names: Mapping[str, str]) -> ConfigError:
    """One message for everything that is wrong, by the names under which the user wrote it."""
    problems = []
    for detail in error.errors():
        field = next((str(part) for part in detail["loc"] if part != "input"), None)
        message = detail["msg"].removeprefix("Value error, ")
        name = names.get(field, field) if field is not None else None
        if name is None:  # a rule about several fields, such as mean and std
            name = "the model's input" if error.title == InputConfig.__name__ else "the options"
        problems.append(f"{name}: {message[0].lower()}{message[1:]}")
    return ConfigError("; ".join(dict.fromkeys(problems)), "smoothscan check --help lists what each option takes")


def _is_option(name: str) -> bool:
    return name.startswith("--")


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")
