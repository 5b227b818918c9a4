"""What a model's MLmodel file says about its input: the signature and the example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothscan.errors import UnsupportedModelError

DTYPES = ("float32", "float64", "float16", "uint8")
"""Data types that images have at a model's input."""
_MAX_EXAMPLE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class TensorSpec:
    """One tensor input of a signature."""

    dtype: str
    """Data type."""
    shape: tuple[int, int, int, int]
    """Four axes, images first; -1 where any size goes."""


def tensor_spec(mlmodel: dict[str, Any]) -> TensorSpec | None:
    """Read the signature's input; None if there is no signature, or none of tensors.

    Raises:
        UnsupportedModelError: the input can not be a batch of images.
    """
    inputs = _signature_inputs(mlmodel)
    if not inputs or any(not isinstance(entry, dict) or entry.get("type") != "tensor" for entry in inputs):
        return None
    if len(inputs) != 1:
        raise UnsupportedModelError(f"The model takes {len(inputs)} inputs; an image classifier takes one.")
    spec = inputs[0].get("tensor-spec")
    if not isinstance(spec, dict):
        return None
    dtype, shape = spec.get("dtype"), spec.get("shape")
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        return None
    if len(shape) != 4:
        raise UnsupportedModelError(
            f"The model's input has the shape {shape}; images need four axes: batch, channels, height and width."
        )
    if dtype not in DTYPES:
        raise UnsupportedModelError(f"The model's input has the data type {dtype!r}; images are {', '.join(DTYPES)}.")
    return TensorSpec(dtype, (shape[0], shape[1], shape[2], shape[3]))


def _signature_inputs(mlmodel: dict[str, Any]) -> list[Any]:
    signature = mlmodel.get("signature")
    text = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(text, str):
        return []
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return inputs if isinstance(inputs, list) else []


def example(folder: Path, mlmodel: dict[str, Any]) -> NDArray[Any] | None:
    """Read the input example that was saved with the model.

    Returns:
        The example with four axes, images first, integer or float64 as it was written; None if there is none that
        could be a batch of images.
    """
    info = mlmodel.get("saved_input_example_info")
    name = info.get("artifact_path") if isinstance(info, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        return None
    path = folder / name
    try:  # the name is the author's, and may be longer than any file's
        if not path.is_file() or path.stat().st_size > _MAX_EXAMPLE_BYTES:
            return None
        values = np.asarray(_values(json.loads(path.read_bytes())))
    except (OSError, ValueError, RecursionError, OverflowError):
        return None
    return values if values.ndim == 4 and values.dtype.kind in "iuf" else None


def _values(document: Any) -> Any:
    """Unwrap an array: MLflow writes it bare, below `inputs`, or below the name of the only input."""
    if isinstance(document, dict) and "inputs" in document:
        document = document["inputs"]
    if isinstance(document, dict) and len(document) == 1:
        return next(iter(document.values()))
    return document
