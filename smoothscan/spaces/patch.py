"""A contiguous square patch that replaces what lies under it (BadNets, Gu et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces.interface import REFERENCE_SIDE, Ladder, Shape, Space

SIDES = (2, 3, 4, 5, 6)
"""Sides of the patch on an image of REFERENCE_SIDE pixels."""


class Patch(Space):
    """x' = (1 - m) x + m v with a square m; the budget is the number of pixels replaced.

    P = (C + 1, H, W): the values v in [0, 1] and the mask m. The position is the discrete part. While it is open, m
    lies in the upper left corner and is drawn anywhere for each noise vector: convolutions hardly mind where a pattern
    lies, so one pattern is learnt for all places, and the smoothed classifier, which averages probabilities, follows
    those at which it already works. A smaller patch begins as a part of a larger one.
    """

    name = "patch"
    sigma_share = 0.5

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return areas; the search begins at the largest."""
        scale = min(shape[1:]) / REFERENCE_SIDE
        sides = sorted({max(round(side * scale), 1) for side in SIDES})
        return Ladder(tuple(float(side * side) for side in sides), len(sides) - 1)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return a grey patch."""
        side = _side(epsilon)
        parameters = torch.full((shape[0] + 1, *shape[1:]), 0.5)
        parameters[-1] = 0
        parameters[-1, :side, :side] = 1
        return parameters

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return the distance from grey to black or white."""
        return 0.5 * math.sqrt(shape[0] * epsilon)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return the images with their patches."""
        values, mask = parameters[..., :-1, :, :], parameters[..., -1:, :, :].detach()
        return images * (1 - mask) + values * mask

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return values in [0, 1]; the mask stays."""
        return torch.cat([parameters[:, :-1].clamp(0, 1), parameters[:, -1:]], 1)

    def scattered(self, parameters: Tensor, targets: Tensor, step: int, count: int, noise: KeyedNoise) -> Tensor:
        """Return the patch at `count` random places."""
        return torch.stack(
            [_moved(one, noise.places(int(t), step, count)) for one, t in zip(parameters, targets, strict=True)]
        )

    def candidates(self, parameters: Tensor, epsilon: float, *, settled: bool) -> Iterator[Tensor]:
        """Yield the open patch on a grid of places half a patch apart, or the parts of a larger patch."""
        side = _side(epsilon)
        if settled:
            *_, before = _window(parameters[0])
            offsets = _grid(before - side, max((before - side) // 2, 1))
            yield from (torch.stack([_part(one, side, y, x) for one in parameters]) for y in offsets for x in offsets)
            return
        stride = (side + 1) // 2
        rows, columns = (_grid(size - side, stride) for size in parameters.shape[2:])
        yield from (parameters.roll((y, x), (2, 3)) for y in rows for x in columns)

    def control(self, parameters: Tensor, target: int, noise: KeyedNoise) -> Tensor:
        """Return a patch of random values in the same place."""
        values = noise.uniform(target, parameters.numel()).view_as(parameters)
        return torch.cat([values[:-1], parameters[-1:]])

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return the patch in its place on grey."""
        values, mask = parameters[:-1], parameters[-1:]
        return 0.5 * (1 - mask) + values * mask

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return size and place."""
        top, left, side = _window(parameters)
        return f"{side} by {side} pixels at row {top}, column {left}"


def _side(epsilon: float) -> int:
    return round(math.sqrt(epsilon))


def _grid(last: int, stride: int) -> list[int]:
    return sorted({*range(0, last + 1, stride), last})


def _moved(parameters: Tensor, places: Sequence[tuple[float, float]]) -> Tensor:
    """Return the patch of the upper left corner at relative places, (0, 0) to (1, 1), wholly inside each time."""
    _, _, side = _window(parameters)
    rows, columns = (size - side for size in parameters.shape[1:])
    return torch.stack([parameters.roll((round(y * rows), round(x * columns)), (1, 2)) for y, x in places])


def _window(parameters: Tensor) -> tuple[int, int, int]:
    """Return row, column and side of the mask."""
    rows = torch.nonzero(parameters[-1].any(1)).flatten()
    columns = torch.nonzero(parameters[-1].any(0)).flatten()
    return int(rows[0]), int(columns[0]), len(rows)


def _part(parameters: Tensor, side: int, y: int, x: int) -> Tensor:
    """Return the square part of a patch with this side, `y` rows and `x` columns from its upper left corner."""
    top, left, _ = _window(parameters)
    part = parameters.clone()
    part[-1] = 0
    part[-1, top + y : top + y + side, left + x : left + x + side] = 1
    return part
