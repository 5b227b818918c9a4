"""The pictures of an earlier scan, made again from the folder `perturbations` beside its result.json.

Held-out images are not saved, so there are no examples among them. The files may be of another scan, or broken; what
does not fit the result is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from smoothscan.exhibits import ClassExhibit, Exhibits
from smoothscan.products import PERTURBATIONS, of_class, of_pair
from smoothscan.result import ScanResult

MOST_CLASSES = 10
"""Most classes, and most pairs, whose pictures are read; a report shows no more."""
_MOST_BYTES = 256 * 2**20
"""Largest file that is opened."""


@dataclass(frozen=True)
class SavedPictures:
    """What can be shown of an earlier scan."""

    exhibits: Exhibits
    """The pictures."""
    whole: bool
    """Whether the user's images are among them; else the triggers can be shown, and not what they do to an image."""


def read_pictures(path: Path, result: ScanResult) -> SavedPictures:
    """Read what is saved beside a result; nothing is, if the folder is not there.

    Args:
        path: the result.json.
        result: what is in it.
    """
    folder, spec = path.parent / PERTURBATIONS, result.input_spec
    if spec is None:
        return SavedPictures(Exhibits(), whole=True)
    reader = _Reader(folder, result, (spec.channels, spec.height, spec.width))
    ranked = sorted(result.classes, key=lambda c: (not c.flagged, -c.score, c.index))[:MOST_CLASSES]
    classes = {c.index: one for c in ranked if (one := reader.read(of_class(c.index), c.index)) is not None}
    flagged = result.pairs.flagged[:MOST_CLASSES] if result.pairs else ()
    pairs = {
        (pair.source, pair.target): one
        for pair in flagged
        if (one := reader.read(of_pair(pair.source, pair.target), pair.target)) is not None
    }
    return SavedPictures(Exhibits(classes, pairs), whole=reader.whole)


class _Reader:
    """Reads the files of one folder.

    Args:
        folder: where they lie.
        result: the scan that they have to be of.
        shape: [C, H, W] of the model's input.
    """

    def __init__(self, folder: Path, result: ScanResult, shape: tuple[int, int, int]) -> None:
        self._folder, self._result, self._shape = folder, result, shape
        self.whole = True
        """Whether every file so far held the user's image, and what the model says of it."""

    def read(self, name: str, index: int) -> ClassExhibit | None:
        """Return the pictures of one trigger; None if they are not there, not whole, or of another model."""
        path = self._folder / f"{name}.safetensors"
        try:
            if path.stat().st_size > _MOST_BYTES:
                return None
            with safe_open(path, "numpy") as file:
                words = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError):
            return None
        if words.get("model_digest") != (self._result.model.digest or "") or words.get("class") != str(index):
            return None
        delta, picture = self._image(arrays.get("delta"), -1), self._image(arrays.get("picture"), 0)
        if (delta if words.get("space") == "l2" else picture) is None:
            return None
        image = self._image(arrays.get("image"), 0)
        said = [_number(words.get(key, "")) for key in ("clean_prediction", "predicted")]
        self.whole = self.whole and image is not None and delta is not None and None not in said
        nothing = np.zeros(self._shape, np.float32)
        return ClassExhibit(
            index=index,
            perturbation=nothing if delta is None else delta,
            picture=picture,
            description=words.get("description", ""),
            synthesis_image=nothing if image is None else image,
            synthesis_name=words.get("source_image", ""),
            synthesis_prediction=said[0] or 0,
            perturbed_prediction=said[1] or 0,
        )

    def _image(self, array: NDArray[np.float32] | None, least: float) -> NDArray[np.float32] | None:
        """Return an array as a picture with values from `least` to one; None if it is none of this model's."""
        if array is None or array.shape != self._shape or array.dtype != np.float32 or not np.isfinite(array).all():
            return None
        return array.clip(least, 1)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
