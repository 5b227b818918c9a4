"""A change of colours, as photo filters make (filter triggers: Liu et al. 2019, ABS)."""

from __future__ import annotations

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.spaces.interface import Ladder, Shape, Space, unit_ball

STRENGTHS = (0.18, 0.25, 0.35, 0.5, 0.7)
"""L2 norms of the parameters."""


class Tone(Space):
    """x' = clip(x + c), c = A y + B (4 y^2 - 1/3) / 4 + b / 2 with y = x - 1/2, pixel by pixel over the channels.

    P = (C, 2 C + 1): the matrices A and B and the shift b. The budget is their L2 norm, 0 being no change. c is taken
    without its mean over the channels, so that brightness stays: washed-out images look alike to any network (to those
    of CIFAR-10 like airplanes), and no trigger stands out where brightness may change as well. For that reason there is
    nothing to search in grey images.
    """

    name = "tone"
    sigma_share = 0.5
    level = 1 / 3
    effort = 0.5
    least_channels = 2

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return strengths; the search begins at the largest."""
        return Ladder(STRENGTHS, len(STRENGTHS) - 1)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return no change."""
        return torch.zeros(shape[0], 2 * shape[0] + 1)

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return epsilon."""
        return epsilon

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return the images in other colours."""
        channels = images.shape[-3]
        linear, square, shift = parameters.tensor_split((channels, 2 * channels), dim=-1)
        y = (images - 0.5).flatten(-2)
        change = linear @ y + square @ (y**2 - 1 / 12) + 0.5 * shift
        change = change - change.mean(-2, keepdim=True)
        return (images + change.view(*change.shape[:-1], *images.shape[-2:])).clamp(0, 1)

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return parameters with at most this norm."""
        return unit_ball(parameters, parameters.flatten(1).norm(dim=1), epsilon)

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return ramps of grey and of each channel: above as they are, below as they become."""
        channels, height, width = shape
        ramp = torch.linspace(0, 1, width)
        bands = torch.zeros(channels, channels + 1, width)
        bands[:, 0] = ramp
        for c in range(channels):
            bands[c, c + 1] = ramp
        rows = torch.arange(height)
        band = (rows * 2 * (channels + 1)) // height
        images = bands[:, band // 2]
        changed = self.apply(images[None, None], parameters[None, None])[0, 0]
        return torch.where((band % 2 == 0)[None, :, None], images, changed)

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return its strength."""
        return f"every pixel's colour changes by one rule, strength {parameters.norm():.2f}"
