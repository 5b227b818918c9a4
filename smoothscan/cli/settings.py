"""Options and configuration file -> ScanConfig, with a note of where each part of it came from."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smoothscan.cli.standard_error import warn
from smoothscan.cli.tables import FIELDS, INPUT_FIELDS, ON, File, Given, find_file, read_file, spread
from smoothscan.config import InputConfig, ScanConfig, wrong_options
from smoothscan.credentials import without_credentials
from smoothscan.errors import ConfigError
from smoothscan.publish import Provenance
from smoothscan.sources import registered_name

OPTION = "option"
"""How a part of the input specification that came from the command line is marked in the result."""
_HINT = "smoothscan check --help lists what each option takes"


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


@dataclass
class Choices:
    """Options and the configuration file, before it is known which model they are for."""

    options: Given
    """What stands on the command line."""
    general: Given
    """What the file says of all models."""
    models: tuple[tuple[str, Given], ...]
    """Its tables [[model]], each with its pattern of names."""
    sweep: Mapping[str, Any]
    """Its table [sweep], as it stands there."""
    file: Path | None
    """The file, if one was read."""
    origin: str | None
    """`configuration file <name>`."""
    known: dict[tuple[bool, ...], tuple[Given, Path | None]] = dataclasses.field(default_factory=dict)
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
            raise wrong_options(error, given.names, _HINT) from None
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
            raise wrong_options(error, given.names, _HINT) from None

    def _merged(self, which: Sequence[bool]) -> tuple[Given, Path | None]:
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
    path = find_file(options.get("config_file")) if use_file else None
    if path is None:
        return Choices(given, Given({}, {}, {}), (), {}, None, None)
    named = options.get("config_file") is not None
    file = read_file(path, named=named, options=given.values)
    if not named and "tracking_uri" in given.values and "registry_uri" not in given.values:
        _forget_registry(file)
    return Choices(given, file.general, file.models, file.sweep, file.path, file.origin)


def _forget_registry(file: File) -> None:
    """Leave out what a file that nobody named says of the registry: who names a server means that one alone."""
    for table in (file.general, *(table for _, table in file.models)):
        if table.values.pop("registry_uri", None) is not None:
            warn(
                f"{table.names['registry_uri']} counts for nothing beside --tracking-uri; pass --registry-uri, or "
                f"--config {file.path}."
            )


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
    for key, field in FIELDS.items():
        value = getattr(config, field)
        if key in ("images", "seed", "labels") or value == fields[field].default:
            continue
        if key in ON:
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


def _read_options(options: Mapping[str, Any]) -> Given:
    given = Given({}, {}, {})
    for parameter, value in options.items():
        key = {"formats": "format", "input_size": "size"}.get(parameter, parameter)
        off = key.removeprefix("no_") in ON
        key = key.removeprefix("no_") if off else key
        if key in INPUT_FIELDS:
            spread(given, key, value, _option(parameter))
        elif key in FIELDS:
            given.values[FIELDS[key]] = not value if off else value
            given.names[FIELDS[key]] = _option("format" if parameter == "formats" else parameter)
    return given


def _is_option(name: str) -> bool:
    return name.startswith("--")


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")
