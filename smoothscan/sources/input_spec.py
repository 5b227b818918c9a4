"""How images have to be handed to a model, and how that is known.

The user's word counts first, then the MLflow signature, then the shape of the input example, then what an image
processor or timm's config.json declares. Declared normalisations count before what the example shows. Where the network
is wrapped, signature and example are about the wrapper, and do not count. What can not be told is an error that names
the options to pass; nothing is guessed silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from smoothscan.config import InputConfig
from smoothscan.errors import ConfigError, InputSpecError, UnsupportedModelError
from smoothscan.result import InputSpec
from smoothscan.sources.architectures import config_json
from smoothscan.sources.interface import Artifact
from smoothscan.sources.normalisation import Normalisation, infer
from smoothscan.sources.preprocessing import declared
from smoothscan.sources.signature import example, tensor_spec
from smoothscan.stored import wraps

Layout = Literal["NCHW", "NHWC"]
_T = TypeVar("_T")
_MAX_LABELS = 100_000
_MAX_LABEL_LENGTH = 100
_OPTIONS = {
    "size": "--input-size HxW",
    "channels": "--channels N",
    "layout": "--layout NCHW|NHWC",
    "normalisation": "--value-range LO,HI (and, if the model does not normalise by itself, --mean A,B,C --std A,B,C)",
}


def input_spec(artifact: Artifact, config: InputConfig, sources: Mapping[str, str]) -> InputSpec:
    """Work out a model's input.

    Args:
        artifact: the model.
        config: what the user says.
        sources: where each field that the user gave came from, such as `option`.

    Raises:
        InputSpecError: some of it can not be told; the hint names the options to pass.
        UnsupportedModelError: the input can not be a batch of grey or RGB images.
    """
    return _Search(artifact, config, sources).result()


def label_names(artifact: Artifact, labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of the classes, in the order of the model's outputs; None if they are not known.

    Args:
        artifact: the model; `id2label` or timm's `label_names` in its config.json or in the metadata of its MLmodel
            file are used.
        labels: the user's names, which count first.
    """
    if labels:
        return tuple(labels)
    metadata = artifact.mlmodel.get("metadata")
    beside = artifact.path / artifact.stored.path
    configs = [config_json(place) for place in (beside if beside.is_dir() else beside.parent, artifact.path)]
    for place in (*configs, metadata):
        if isinstance(place, dict) and (names := _names(place.get("id2label")) or _listed(place.get("label_names"))):
            return names
    return None


def fitting_labels(artifact: Artifact, given: Sequence[str] | None, n_classes: int) -> tuple[str, ...] | None:
    """Return the names of the classes, one for each; None if they are not known.

    Args:
        artifact: the model; see `label_names`.
        given: the user's names, which count first.
        n_classes: number of classes K.

    Raises:
        ConfigError: the user's names are not as many; those of the model are not used then.
    """
    names = label_names(artifact, given)
    if given is not None and names is not None and len(names) != n_classes:
        raise ConfigError(
            f"{len(names)} label names were given for a model with {n_classes} classes.",
            "Give one name for each output, in the model's order.",
        )
    return names if names is not None and len(names) == n_classes else None


class _Search:
    """The parts of one model's input, found one after the other, each with its source."""

    def __init__(self, artifact: Artifact, config: InputConfig, sources: Mapping[str, str]) -> None:
        self._config = config
        self._user_sources = sources
        wrapped = wraps(artifact.stored.flavor)
        self._signature = None if wrapped else tensor_spec(artifact.mlmodel)
        self._example = None if wrapped else example(artifact.path, artifact.mlmodel)
        self._declared = declared(artifact)
        self._sources: dict[str, str] = {}
        self._missing: list[str] = []
        self._reasons: list[str] = []

    def result(self) -> InputSpec:
        dtype = self._dtype()
        layout = self._layout()
        channels = self._axis("channels", 1 if layout == "NCHW" else 3)
        height = self._axis("height", 2 if layout == "NCHW" else 1)
        width = self._axis("width", 3 if layout == "NCHW" else 2)
        if channels is not None and channels not in (1, 3):
            raise UnsupportedModelError(
                f"The model's input has {channels} channels; images have 1 (grey) or 3 (RGB).",
                "If its channels come last, pass --layout NHWC.",
            )
        self._check_means(channels)
        normalisation = self._normalisation(dtype, layout)
        if self._missing or None in (channels, height, width, normalisation):
            self._give_up()
        assert channels and height and width and normalisation  # noqa: PT018  # else it gave up
        self._sources["resize"] = self._user_sources.get("resize", "default")
        return InputSpec(
            channels=channels,
            height=height,
            width=width,
            layout=layout,
            dtype=dtype,
            value_range=normalisation.value_range,
            mean=_per_channel(normalisation.mean, channels),
            std=_per_channel(normalisation.std, channels),
            resize=self._config.resize,
            sources=self._sources,
        )

    def _dtype(self) -> str:
        if self._signature:
            return self._found("dtype", self._signature.dtype, "signature")
        if self._example is not None and _is_bytes(self._example):
            return self._found("dtype", "uint8", "inferred from the input example: its values are whole numbers")
        return self._found("dtype", "float32", "default")

    def _layout(self) -> Layout:
        if self._config.layout:
            return self._found("layout", self._config.layout, self._user("layout"))
        for shape, source in self._shapes():
            first, last = shape[1] in (1, 3), shape[3] in (1, 3)
            if first != last:
                return self._found("layout", "NCHW" if first else "NHWC", source)
        if any(shape[1] in (1, 3) and shape[3] in (1, 3) for shape, _ in self._shapes()):
            self._lack("layout", "channels may come first or last")
        return self._found("layout", "NCHW", "default")

    def _axis(self, name: Literal["channels", "height", "width"], position: int) -> int | None:
        given: int | None = getattr(self._config, name)
        if given is not None:
            return self._found(name, given, self._user(name))
        for shape, source in self._shapes():
            if shape[position] > 0:
                return self._found(name, shape[position], source)
        if self._declared is not None and (stated := getattr(self._declared, name)) is not None:
            return self._found(name, int(stated), self._declared.source)
        what = "the number of channels" if name == "channels" else "the size"
        self._lack("channels" if name == "channels" else "size", f"{what} is in no signature or input example")
        return None

    def _check_means(self, channels: int | None) -> None:
        mean = self._config.mean
        if mean is not None and channels is not None and len(mean) not in (1, channels):
            raise InputSpecError(
                f"{len(mean)} means were given for {channels} channel(s).",
                "Pass one value for each channel: --mean A,B,C --std A,B,C.",
            )

    def _normalisation(self, dtype: str, layout: Layout) -> Normalisation | None:
        config = self._config
        if config.value_range is not None or config.mean is not None:
            return self._given_normalisation()
        if dtype == "uint8":
            source = f"{self._sources['dtype']}: data type uint8"
            return self._normalised(Normalisation("[0, 255]", (0.0, 255.0)), source)
        if self._declared is not None and self._declared.normalisation is not None:
            return self._normalised(self._declared.normalisation, self._declared.source)
        if self._example is None:
            self._lack("normalisation", "there is no input example to infer the value range from")
            return None
        values: NDArray[np.float64] = self._example.astype(np.float64)
        answer = infer(values if layout == "NCHW" else values.transpose(0, 3, 1, 2), dtype)
        if isinstance(answer, str):
            self._lack("normalisation", f"{answer}, so the value range can not be inferred")
            return None
        return self._normalised(answer[0], f"inferred from the input example: {answer[1]}")

    def _given_normalisation(self) -> Normalisation:
        config = self._config
        value_range, source = config.value_range, self._user("value_range")
        if value_range is None:
            # Means above 1 can only be in units of 0 to 255.
            value_range = (0.0, 255.0) if max(config.mean or (0.0,)) > 1 else (0.0, 1.0)
            source = "follows from mean and std"
        self._sources["value_range"] = source
        for name in ("mean", "std"):
            self._sources[name] = self._user(name) if config.mean is not None else f"none: {source}"
        return Normalisation("given", value_range, config.mean, config.std)

    def _normalised(self, normalisation: Normalisation, source: str) -> Normalisation:
        self._sources.update(dict.fromkeys(("value_range", "mean", "std"), source))
        return normalisation

    def _shapes(self) -> list[tuple[tuple[int, ...], str]]:
        """The shapes that are known, best first, each with its source."""
        shapes: list[tuple[tuple[int, ...], str]] = []
        if self._signature:
            shapes.append((self._signature.shape, "signature"))
        if self._example is not None:
            shapes.append((self._example.shape, "shape of the input example"))
        return shapes

    def _user(self, field: str) -> str:
        return self._user_sources.get(field, "option")

    def _found(self, part: str, value: _T, source: str) -> _T:
        self._sources[part] = source
        return value

    def _lack(self, part: str, reason: str) -> None:
        if part not in self._missing:
            self._missing.append(part)
            self._reasons.append(reason)

    def _give_up(self) -> None:
        options = ", ".join(_OPTIONS[part] for part in self._missing)
        raise InputSpecError(
            f"The model's input can not be told: {'; '.join(self._reasons)}.",
            f"Pass {options}, or set it in the configuration file.",
        )


def _is_bytes(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iu" and values.size > 0 and values.min() >= 0 and values.max() <= 255


def _per_channel(values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    return values * channels if values is not None and len(values) == 1 else values


def _names(id2label: Any) -> tuple[str, ...] | None:
    """Read {0: name, 1: name, ...}; None unless it names every class from 0 on."""
    if not isinstance(id2label, dict) or not 0 < len(id2label) <= _MAX_LABELS:
        return None
    by_index = {str(index): name for index, name in id2label.items()}
    names = [by_index.get(str(index)) for index in range(len(id2label))]
    if not all(isinstance(name, str) for name in names):
        return None
    return tuple(_clean(str(name), index) for index, name in enumerate(names))


def _listed(names: Any) -> tuple[str, ...] | None:
    if not isinstance(names, list) or not 0 < len(names) <= _MAX_LABELS:
        return None
    return _names(dict(enumerate(names)))


def _clean(name: str, index: int) -> str:
    return "".join(letter for letter in name if letter.isprintable())[:_MAX_LABEL_LENGTH].strip() or str(index)
