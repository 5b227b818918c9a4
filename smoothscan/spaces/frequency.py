"""One sinusoid over the whole image (SIG, Barni et al. 2019; FTrojan, Wang et al. 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from smoothscan.config import Profile, at_size
from smoothscan.spaces.interface import Ladder, Shape, Space, unit_ball

NORMS = (3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
"""L2 norms at 3x224x224."""
FREQUENCIES = 17
"""Most numbers of periods, from none to one in two pixels, that are tried in each direction."""
COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Weights of red, green and blue that are tried; images of another number of channels have the same weight in each."""


class Frequency(Space):
    """x' = clip(x + delta), where delta_c = a_c cos(w) + b_c sin(w) has one frequency in all channels.

    P = (2 + 2 C): periods from top to bottom and from left to right, then a and b. The budget is the L2 norm of delta.
    A search begins with the best of a dictionary of frequencies, phases and colours: a small sinusoid often has no
    gradient towards the trigger that it becomes when it is large.
    """

    name = "frequency"
    level = 0.9

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return norms; the search begins at the largest."""
        return Ladder(tuple(at_size(norm, math.prod(shape)) for norm in NORMS), len(NORMS) - 1)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return delta = 0."""
        return torch.zeros(2 + 2 * shape[0])

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return the norm of a and b."""
        return epsilon / math.sqrt(shape[1] * shape[2] / 2)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return clip(x + delta)."""
        return (images + wave(parameters, images.shape[-2], images.shape[-1])).clamp(0, 1)

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return delta with at most this norm."""
        norms = wave(parameters, *shape[1:]).flatten(1).norm(dim=1)
        return torch.cat([parameters[:, :2], unit_ball(parameters[:, 2:], norms, epsilon)], 1)

    def dictionary(self, shape: Shape, epsilon: float) -> Tensor | None:
        """Return every frequency in two phases and some colours, with the full norm."""
        channels, height, width = shape
        colours = torch.tensor(COLOURS if channels == len(COLOURS[0]) else ((1.0,) * channels,))
        down, across = _periods(height), _periods(width)
        both = [(r, c) for c in across for r in sorted({*down, *(-r for r in down)}) if c > 0 or r > 0]
        entries = [
            torch.tensor([r, c, *(colour if phase == 0 else zero), *(zero if phase == 0 else colour)])
            for r, c in both
            for phase in (0, 1)
            for colour, zero in ((list(one), [0.0] * channels) for one in colours.tolist())
        ]
        unit = torch.stack(entries)
        norms = wave(unit, height, width).flatten(1).norm(dim=1)
        there = norms > 1e-3 * math.sqrt(height * width)  # the sine of the shortest period is zero everywhere
        unit, norms = unit[there], norms[there]
        return torch.cat([unit[:, :2], unit[:, 2:] * (epsilon / norms)[:, None]], 1)

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return the sinusoid by itself, stretched around mid-grey."""
        delta = wave(parameters, *shape[1:])
        return 0.5 + 0.5 * delta / delta.abs().max().clamp_min(1e-12)

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return how often it repeats."""
        down, across = parameters[:2].round().int().tolist()
        return f"a sinusoid with {down} periods from top to bottom and {across} from left to right"


def wave(parameters: Tensor, height: int, width: int) -> Tensor:
    """Return delta of parameters [..., 2 + 2 C], [..., C, height, width]."""
    down, across, waves = parameters[..., :1].detach(), parameters[..., 1:2].detach(), parameters[..., 2:]
    rows, columns = torch.arange(height) / height, torch.arange(width) / width
    angle = 2 * math.pi * ((down * rows)[..., :, None] + (across * columns)[..., None, :])
    cosine, sine = waves[..., None, None].tensor_split(2, dim=-3)
    return cosine * angle.cos()[..., None, :, :] + sine * angle.sin()[..., None, :, :]


def _periods(size: int) -> list[int]:
    """Return the numbers of periods to try: all of them, or the small ones closer together than the large ones."""
    most = size // 2
    if most < FREQUENCIES:
        return list(range(most + 1))
    return sorted({0, *(round(f) for f in torch.logspace(0, math.log10(most), FREQUENCIES).tolist())})
