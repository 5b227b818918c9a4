"""What Python programs ask for: from the arguments of `smoothscan.scan` and `smoothscan.check` to a scan.

A model is named by a URI or held as a module, images lie in a folder or are held in memory; the scan is the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from smoothscan.config import InputConfig, ScanConfig, wrong_options
from smoothscan.errors import ConfigError
from smoothscan.events import Events, Silent
from smoothscan.intake import Given
from smoothscan.sources.given_images import given_images
from smoothscan.suggestions import did_you_mean

if TYPE_CHECKING:
    from smoothscan.result import ScanResult

_SIZE = "input_size"
_INPUT = frozenset({_SIZE, *InputConfig.model_fields})
"""Options that say how images are handed to the model; they may be given by themselves or as `input`."""
_OPTIONS = (ScanConfig.model_fields.keys() | _INPUT) - {"uri", "images"}
"""All options; model and images are arguments."""
_HINT = "The fields of smoothscan.ScanConfig and smoothscan.InputConfig say what each option takes."
_OF_A_REGISTRY = {
    "write_back": "there is no model version to tag",
    "set_alias": "there is no model version for an alias",
    "attest": "an attestation is about files",
    "attest_key": "an attestation is about files",
    "architecture": "the module is the network already",
    "cache": "what its code does is in no digest, so that a result could be another module's",
    "allow_model_code": "its code is in this process already",
}
"""Options without a meaning for a module in memory, and why."""


def scan(model: Any, images: Any, events: Events | None, options: Mapping[str, Any]) -> ScanResult:
    """Scan a model; see `smoothscan.scan`."""
    from smoothscan.pipeline import scan as run
    from smoothscan.sinks.notebook import pictures

    config, given = _asked(model, images, options)
    result, exhibits = run(config, events or Silent(), given=given)
    return result.with_pictures(pictures(result, exhibits, redact_images=config.redact_images))


def check(
    model: Any, images: Any, output_dir: str | Path, events: Events | None, options: Mapping[str, Any]
) -> ScanResult:
    """Scan a model and write the reports; see `smoothscan.check`."""
    from smoothscan.checking import check as run
    from smoothscan.publish import Provenance

    config, given = _asked(model, images, {"write_back": False, **options, "output_dir": Path(output_dir)})
    return run(config, events or Silent(), Provenance(), given=given)


def _asked(model: Any, images: Any, options: Mapping[str, Any]) -> tuple[ScanConfig, Given]:
    """Return the configuration of a scan, with what was handed over instead of named.

    Raises:
        ConfigError: what was handed over is neither, or an option is wrong or does not go with it.
        ImagesError: the images in memory cannot be used.
    """
    values = _with_input(options)
    held = None if isinstance(images, (str, os.PathLike)) else given_images(images)
    values["images"] = Path(images) if held is None else Path(f"({len(held)} images in memory)")
    if isinstance(model, (str, os.PathLike)):
        return _config(os.fspath(model), values), Given(images=held)
    module = _module(model)
    for name, why in _OF_A_REGISTRY.items():
        if values.get(name):
            raise ConfigError(f"The option {name} is not for a module in memory: {why}.", "Leave it out.")
    config = _config(f"memory:{type(module).__name__}", {**values, "cache": False, "write_back": False})
    if config.input.value_range is None and config.input.mean is None:
        raise ConfigError(
            "Nothing says which values the module takes for black and white pixels.",
            "Pass value_range=(0, 1), (0, 255) or (-1, 1), or the mean=(...) and std=(...) that images are normalised "
            "with before they come to the module.",
        )
    return config, Given(module, held)


def _module(model: Any) -> Any:
    from torch import nn

    if isinstance(model, nn.Module):
        if any(nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
            raise ConfigError("The module has parameters that are not initialised yet.", "Call it once on a batch.")
        return model
    hint = "Pass a URI such as models:/name/3, a folder, or a torch.nn.Module."
    if isinstance(model, type) and issubclass(model, nn.Module):
        hint = f"Pass an instance: {model.__name__}()."
    raise ConfigError(f"The model is a {type(model).__name__}, not a URI and no torch.nn.Module.", hint)


def _config(uri: str, values: Mapping[str, Any]) -> ScanConfig:
    try:
        return ScanConfig(uri=uri, **values)
    except ValidationError as error:
        raise wrong_options(error, {}, _HINT) from error


def _with_input(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with those about the model's input in one.

    Raises:
        ConfigError: one is unknown, wrong, or given twice.
    """
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"There is no option {name!r}.", did_you_mean(name, _OPTIONS).capitalize() or _HINT)
    values = {name: value for name, value in options.items() if name not in _INPUT}
    own = {name: value for name, value in options.items() if name in _INPUT}
    if not own:
        return values
    if "input" in values:
        raise ConfigError(
            f"How images are handed to the model is said twice: by input and by {', '.join(own)}.", "Pass one of both."
        )
    names: dict[str, str] = {}
    if _SIZE in own:
        own |= _height_and_width(own.pop(_SIZE))
        names = dict.fromkeys(("height", "width"), _SIZE)
    try:
        return {**values, "input": InputConfig(**own)}
    except ValidationError as error:
        raise wrong_options(error, names, _HINT) from error


def _height_and_width(size: Any) -> dict[str, int]:
    try:
        height, width = map(index, size) if hasattr(size, "__len__") else (index(size),) * 2
    except (TypeError, ValueError):
        raise ConfigError(
            f"{_SIZE} is {size!r}, which is no size in pixels.",
            "Pass (height, width), such as (224, 224), or one number for a square.",
        ) from None
    return {"height": height, "width": width}
