"""The pictures of one scan: what goes beside the numbers of a ScanResult."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""[C, H, W] in [0, 1]."""


@dataclass(frozen=True)
class HeldOutExample:
    """One held-out image before and after the perturbation."""

    name: str
    """File name."""
    clean: Image
    """The image, [C, H, W] in [0, 1]."""
    perturbed: Image
    """The image with the perturbation, [C, H, W] in [0, 1]."""
    clean_prediction: int
    """Class of the clean image."""
    perturbed_prediction: int
    """Class of the perturbed image."""


@dataclass(frozen=True)
class ClassExhibit:
    """What was recovered for one class."""

    index: int
    """Class."""
    perturbation: NDArray[np.float32]
    """delta, [C, H, W] in [-1, 1]; outside L2 the change that the trigger makes to the synthesis image."""
    picture: Image | None
    """The trigger by itself, [C, H, W] in [0, 1]; None where delta is the trigger."""
    description: str
    """The trigger in a few words."""
    synthesis_image: Image
    """The clean image that delta was synthesised from, [C, H, W] in [0, 1]."""
    synthesis_name: str
    """Its file name."""
    synthesis_prediction: int
    """Its class when clean."""
    perturbed_prediction: int
    """Its class with delta."""
    made_from: tuple[str, ...] = ()
    """File names of all images that delta was synthesised from, the shown one first; empty where that is not known."""
    parameters: NDArray[np.float32] | None = None
    """The trigger's parameters in its space, of which `picture` is the picture; None where delta is the trigger."""
    examples: tuple[HeldOutExample, ...] = ()
    """A few held-out images, before and after; filled for the flagged classes and the highest ranked one."""


@dataclass(frozen=True)
class Exhibits:
    """All pictures of one scan."""

    classes: dict[int, ClassExhibit] = field(default_factory=dict)
    """By class."""
    pairs: dict[tuple[int, int], ClassExhibit] = field(default_factory=dict)
    """By source and target class, for the most anomalous of the flagged pairs."""
