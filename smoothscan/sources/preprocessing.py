"""What a model's own files say about how images are prepared for it: transformers' image processor, timm's config.json.

Both are read as JSON and never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smoothscan.errors import InputSpecError
from smoothscan.sources.architectures import config_json, read_json
from smoothscan.sources.interface import Artifact
from smoothscan.sources.normalisation import Normalisation

_COMPONENTS = ("image_processor", "feature_extractor", "processor")
_MAX_SIZE = 8192


@dataclass(frozen=True)
class Declared:
    """The input of a network as its files declare it."""

    source: str
    """Where it stands, in words."""
    channels: int | None = None
    """Number of channels."""
    height: int | None = None
    """Height in pixels."""
    width: int | None = None
    """Width in pixels."""
    normalisation: Normalisation | None = None
    """Value range, mean and std."""


def declared(artifact: Artifact) -> Declared | None:
    """Return what the files of a model say about its input; None if they say nothing.

    Raises:
        InputSpecError: the processor does something that has no place in an input specification.
    """
    match artifact.stored.flavor:
        case "transformers":
            return _transformers(artifact.path, artifact.path / artifact.stored.path)
        case "safetensors":
            return _timm(config_json((artifact.path / artifact.stored.path).parent))
        case _:
            return None


def _transformers(folder: Path, model: Path) -> Declared:
    config = config_json(model)
    channels = _natural(config.get("num_channels")) or 3
    processor = next(_processors(folder, model), None)
    if processor is None:
        height, width = _size(config.get("image_size"))
        return Declared("config.json", channels, height, width)
    if processor.get("do_flip_channel_order"):
        raise InputSpecError(
            "The image processor hands the colour channels over in reverse order, which smoothscan does not do.",
            "Log a module that reverses them itself with mlflow.pytorch, and scan that.",
        )
    cropped = processor.get("crop_size") if processor.get("do_center_crop") else None
    height, width = _size(cropped or processor.get("size") or config.get("image_size"))
    return Declared("image processor", channels, height, width, _processed(processor))


def _processors(folder: Path, model: Path) -> Iterator[dict[str, Any]]:
    for place in (*(folder / "components" / name for name in _COMPONENTS), model):
        if found := read_json(place / "preprocessor_config.json"):
            yield found
        if isinstance(inner := read_json(place / "processor_config.json").get("image_processor"), dict):
            yield inner


def _processed(processor: dict[str, Any]) -> Normalisation | None:
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    if not isinstance(factor, (int, float)) or not 0 < factor < 1e6:
        return None
    low = -1.0 if processor.get("rescale_offset") else 0.0
    value_range = (low, low + round(255 * float(factor), 9))
    if not processor.get("do_normalize", False):
        return Normalisation("the image processor's", value_range)
    mean, std = _numbers(processor.get("image_mean")), _numbers(processor.get("image_std"))
    if mean is None or std is None or len(mean) != len(std) or min(std) <= 0:
        return None
    if processor.get("include_top"):  # EfficientNet's processor divides by std a second time
        std = tuple(value * value for value in std)
    return Normalisation("the image processor's", value_range, mean, std)


def _timm(config: dict[str, Any]) -> Declared | None:
    inner = config.get("pretrained_cfg")
    values = inner if isinstance(inner, dict) else config
    size: Any = values.get("input_size")
    mean, std = _numbers(values.get("mean")), _numbers(values.get("std"))
    size = size if _is_list(size, 3) else (None, None, None)
    channels, (height, width) = _natural(size[0]), _size(size[1:])
    fitting = mean is not None and std is not None and len(mean) == len(std) and min(std) > 0
    if height is None and not fitting:
        return None
    normalisation = Normalisation("timm's", mean=mean, std=std) if fitting else None
    return Declared("config.json of timm", channels, height, width, normalisation)


def _size(value: Any) -> tuple[int | None, int | None]:
    """Read a size as processors write it: a number, two, or a table. A shortest edge alone is cropped to a square."""
    if isinstance(value, dict):
        edge = value.get("shortest_edge")
        value = [value.get("height", edge), value.get("width", edge)]
    if not isinstance(value, (list, tuple)):
        value = [value, value]
    height, width = (_natural(value[0]), _natural(value[1])) if _is_list(value, 2) else (None, None)
    return (height, width) if height and width else (None, None)


def _natural(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= _MAX_SIZE else None


def _numbers(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, (list, tuple)) or len(value) not in (1, 3):
        return None
    return tuple(map(float, value)) if all(type(number) in (int, float) for number in value) else None


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == length
