"""A smooth pattern added to the image (a smooth blend, Chen et al. 2017; a tint or shade over parts of it)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from smoothscan.config import Profile, at_size
from smoothscan.spaces.interface import Ladder, Shape, Space, unit_ball

NORMS = (7.0, 10.0, 14.0, 20.0, 28.0, 40.0)
"""L2 norms at 3x224x224."""
GRID = 5
"""Control points in each direction."""


class Smooth(Space):
    """x' = clip(x + delta), delta interpolated from few control points; the budget is the L2 norm of delta.

    P = (C, GRID, GRID). Without high frequencies ordinary classes need far larger norms than in the whole L2 ball, a
    smooth trigger needs no more than before.
    """

    name = "smooth"
    effort = 0.5

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return norms; the search begins at the largest."""
        return Ladder(tuple(at_size(norm, math.prod(shape)) for norm in NORMS), len(NORMS) - 1)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return delta = 0."""
        return torch.zeros(shape[0], GRID, GRID)

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return about the norm of the control points."""
        return epsilon * GRID / math.sqrt(shape[1] * shape[2])

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return clip(x + delta)."""
        return (images + pattern(parameters, images.shape[-2], images.shape[-1])).clamp(0, 1)

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return delta with at most this norm."""
        return unit_ball(parameters, pattern(parameters, *shape[1:]).flatten(1).norm(dim=1), epsilon)

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return delta by itself, stretched around mid-grey."""
        delta = pattern(parameters, *shape[1:])
        return 0.5 + 0.5 * delta / delta.abs().max().clamp_min(1e-12)

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return how much it changes a value at most."""
        return f"changes a value by at most {255 * pattern(parameters, *shape[1:]).abs().max():.0f} of 255"


def pattern(parameters: Tensor, height: int, width: int) -> Tensor:
    """Return delta of parameters [..., C, GRID, GRID], [..., C, height, width]."""
    points = parameters.flatten(0, -4) if parameters.dim() > 3 else parameters[None]
    delta = F.interpolate(points, size=(height, width), mode="bicubic", align_corners=False)
    return delta.view(*parameters.shape[:-2], height, width)
