"""Where a trigger sits in the image: the box that holds most of its energy, and a map of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothscan.exhibits import Image
from smoothscan.sinks.text import percent

_EMPTY = 0.25
"""Energy of an outer row or column, over the mean of the box, below which it does not belong to the box."""
_KEPT = 0.8
"""Share of the energy that a box holds at least."""
_CONFINED = 0.4
"""Share of the image above which a box says nothing."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
_HOT = np.array([1.0, 0.35, 0.05], np.float32)[:, None, None]


@dataclass(frozen=True)
class Place:
    """The smallest box that holds most of a trigger's energy, its squared change summed over the channels."""

    top: int
    left: int
    height: int
    width: int
    energy: float
    """Share of the energy inside, in [0, 1]."""
    area: float
    """Share of the image that it covers, in [0, 1]."""

    @property
    def confined(self) -> bool:
        """Whether the trigger sits somewhere, and not all over the image."""
        return self.area <= _CONFINED

    def words(self) -> str:
        """Return where it sits, in a sentence."""
        if not self.confined:
            return "It is spread over the image."
        rows = f"rows {self.top} to {self.top + self.height - 1}"
        columns = f"columns {self.left} to {self.left + self.width - 1}"
        return (
            f"{percent(self.energy)} of its energy lies in {rows} and {columns}, {percent(self.area)} of the image "
            "(outlined)."
        )


def energy(delta: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared change of each pixel, [H, W], summed over the channels."""
    squared: NDArray[np.float64] = np.square(np.nan_to_num(delta).astype(np.float64)).sum(axis=0)
    return squared


def place(delta: NDArray[np.float32]) -> Place | None:
    """Return where a change of an image sits; None where nothing changes.

    Args:
        delta: [C, H, W].
    """
    of_pixels = energy(delta)
    total = float(of_pixels.sum())
    if total <= 0:
        return None
    top, bottom, left, right = _box(of_pixels, _KEPT * total)
    inside = float(of_pixels[top:bottom, left:right].sum()) / total
    area = (bottom - top) * (right - left) / of_pixels.size
    return Place(top, left, bottom - top, right - left, min(1.0, inside), area)


def energy_map(image: Image, delta: NDArray[np.float32]) -> Image:
    """Return the image in pale grey with the energy of the change over it, [3, H, W] in [0, 1].

    Args:
        image: the clean image, [C, H, W] in [0, 1].
        delta: the change, [C, H, W].
    """
    grey = (np.nan_to_num(image) * _GREY if image.shape[0] == 3 else np.nan_to_num(image) / image.shape[0]).sum(axis=0)
    of_pixels = energy(delta)
    # Four parts in a thousand of the largest change would do nothing to the eye: the root brings out what is faint.
    heat = np.sqrt(of_pixels / max(float(of_pixels.max()), 1e-12))
    ground = 0.35 + 0.5 * grey[None]
    mapped: Image = (ground * (1 - 0.9 * heat) + _HOT * 0.9 * heat).astype(np.float32)
    return mapped


def _box(of_pixels: NDArray[np.float64], at_least: float) -> tuple[int, int, int, int]:
    """Return first and end of rows and columns after the emptiest outer ones were cut off, one at a time."""
    top, left = 0, 0
    bottom, right = of_pixels.shape
    while True:
        box = of_pixels[top:bottom, left:right]
        sides = (box[0], box[-1], box[:, 0], box[:, -1])
        emptiest = min(range(4), key=lambda side: float(sides[side].mean()))
        outer = sides[emptiest]
        if outer.mean() >= _EMPTY * box.mean() or box.sum() - outer.sum() < at_least:
            return top, bottom, left, right
        top += emptiest == 0
        bottom -= emptiest == 1
        left += emptiest == 2
        right -= emptiest == 3
