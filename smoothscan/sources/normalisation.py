"""Tells from an example input how a model's images are scaled and normalised.

A real image has 256 levels. After the right normalisation is undone, every value is a multiple of 1/255 between 0
and 1; after a wrong one, practically none is. So one quantised example decides, and where two explanations fit,
nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_LEVELS = 16
"""Different values that an example needs: a handful of values is a multiple of something by chance."""
_MIN_SPREAD = 0.5
"""Range that unquantised values in [0, 1] must span: a normalised image of little contrast could lie there as well."""
_TOLERANCE = {"float16": 0.15}
_DEFAULT_TOLERANCE = 0.01
"""Distance from a whole level, in levels, that rounding to the input's data type explains."""


@dataclass(frozen=True)
class Normalisation:
    """A pixel p in [0, 1] enters the model as (low + p * (high - low) - mean) / std."""

    name: str
    """How people call it."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Values of a black and of a white pixel, before `mean` and `std`."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean, in units of `value_range`."""
    std: tuple[float, ...] | None = None
    """Per-channel divisor, in units of `value_range`."""


KNOWN = (
    Normalisation("[0, 1]"),
    Normalisation("[0, 255]", (0.0, 255.0)),
    Normalisation("[-1, 1]", (-1.0, 1.0)),
    Normalisation("ImageNet mean and std", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    Normalisation("CIFAR-10 mean and std", mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    Normalisation("CIFAR-10 mean and per-image std", mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    Normalisation(
        "CLIP mean and std",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
    Normalisation("MNIST mean and std", mean=(0.1307,), std=(0.3081,)),
    Normalisation("EfficientNet-Lite's (255 p - 127) / 128", (0.0, 255.0), mean=(127.0,), std=(128.0,)),
)
"""Normalisations in common use. One mean for several channels holds for each of them."""


def infer(example: NDArray[np.float64], dtype: str) -> tuple[Normalisation, str] | str:
    """Find the normalisation that explains an example.

    Args:
        example: [N, C, H, W], values as the model gets them.
        dtype: data type of the model's input; sets the tolerance.

    Returns:
        The one normalisation and the reason for it in words, or, if it can not be told, only the reason why not.
    """
    if example.size == 0 or not np.isfinite(example).all():
        return "the input example is empty or not finite"
    low, high = float(example.min()), float(example.max())
    if low == high:
        return f"all values of the input example are {low:g}"
    tolerance = _TOLERANCE.get(dtype, _DEFAULT_TOLERANCE)
    fitting = [known for known in KNOWN if _explains(known, example, tolerance)]
    if len(fitting) > 1:
        return f"the input example fits {' and '.join(known.name for known in fitting)} alike"
    if np.unique(example[:, :, :64, :64]).size < MIN_LEVELS and np.unique(example).size < MIN_LEVELS:
        return f"the input example has fewer than {MIN_LEVELS} different values"
    if fitting:
        return fitting[0], _in_words(fitting[0])
    if low >= 0 and high <= 1 and high - low >= _MIN_SPREAD:
        return KNOWN[0], f"values lie between {low:.3g} and {high:.3g}"
    return f"the input example's values, {low:.3g} to {high:.3g}, fit no known normalisation"


def _explains(known: Normalisation, example: NDArray[np.float64], tolerance: float) -> bool:
    """Whether undoing a normalisation leaves multiples of 1/255 between 0 and 1."""
    channels = example.shape[1]
    if known.mean is not None and len(known.mean) not in (1, channels):
        return False
    if known.name.startswith("MNIST") and channels != 1:
        return False
    low, high = known.value_range
    levels = 255 * (example * _channelwise(known.std, 1) + _channelwise(known.mean, 0) - low) / (high - low)
    inside = levels.min() >= -tolerance and levels.max() <= 255 + tolerance
    return bool(inside and (np.abs(levels - np.rint(levels)) <= tolerance).all())


def _channelwise(values: tuple[float, ...] | None, neutral: float) -> NDArray[np.float64]:
    return np.asarray(values or (neutral,), dtype=np.float64).reshape(1, -1, 1, 1)


def _in_words(known: Normalisation) -> str:
    if known is KNOWN[0]:
        return "values are multiples of 1/255 between 0 and 1"
    if known.mean is None:
        return f"values are the 256 levels of {known.name}"
    return f"undoing {known.name} leaves multiples of 1/255 between 0 and 1"
