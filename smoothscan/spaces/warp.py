"""A smooth warp of the image (WaNet, Nguyen & Tran 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from smoothscan.config import Profile
from smoothscan.spaces.interface import REFERENCE_SIDE, Ladder, Shape, Space, unit_ball

DISPLACEMENTS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Mean displacements in pixels on an image of REFERENCE_SIDE pixels."""
GRID = 4
"""Control points in each direction."""


class Warp(Space):
    """x'(p) = x(p + u(p)) with u interpolated from P = (2, GRID, GRID) control points, horizontal displacements first.

    The budget is the mean length of u in pixels.
    """

    name = "warp"
    sigma_share = 0.25
    level = 1 / 3

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return displacements; the search begins at the largest."""
        scale = min(shape[1:]) / REFERENCE_SIDE
        return Ladder(tuple(d * scale for d in DISPLACEMENTS), len(DISPLACEMENTS) - 1)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return u = 0."""
        return torch.zeros(2, GRID, GRID)

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return the norm of control points that all move by epsilon."""
        return epsilon * GRID

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return the warped images."""
        batch, count = images.shape[0], max(images.shape[1], parameters.shape[1])
        height, width = images.shape[-2:]
        u = field(parameters, height, width).expand(batch, count, 2, height, width).flatten(0, 1)
        rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
        here = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
        scale = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
        grid = (here + u.permute(0, 2, 3, 1) * scale).clamp(-1, 1)
        images = images.expand(batch, count, *images.shape[2:]).flatten(0, 1)
        return F.grid_sample(images, grid, align_corners=True).view(batch, count, *images.shape[1:])

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return u with at most this mean length."""
        return unit_ball(parameters, field(parameters, *shape[1:]).norm(dim=1).mean((1, 2)), epsilon)

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return a grid of lines as it is warped."""
        spacing = max(min(shape[1:]) // 8, 2)
        lines = torch.full(shape, 0.92)
        lines[:, spacing // 2 :: spacing] = 0.25
        lines[:, :, spacing // 2 :: spacing] = 0.25
        return self.apply(lines[None, None], parameters[None, None])[0, 0]

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return how far it moves."""
        lengths = field(parameters, *shape[1:]).norm(dim=0)
        return f"pixels move by {lengths.mean():.2f} on average, at most by {lengths.max():.2f}"


def field(parameters: Tensor, height: int, width: int) -> Tensor:
    """Return u in pixels from control points [..., 2, GRID, GRID], [..., 2, height, width]."""
    flat = parameters.reshape(-1, *parameters.shape[-3:])
    u = F.interpolate(flat, size=(height, width), mode="bicubic", align_corners=True)
    return u.view(*parameters.shape[:-2], height, width)
