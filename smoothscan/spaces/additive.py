"""Additive perturbations inside an L2 ball (Sun & Kolter 2023, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from smoothscan.config import Profile, at_size
from smoothscan.spaces.interface import Ladder, Shape, Space, unit_ball


class Additive(Space):
    """x' = clip(x + delta), P = (C, H, W); the budget is the L2 norm of delta."""

    name = "l2"
    guarded = False

    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return the profile's budgets."""
        first = None if profile.first_epsilon is None else profile.epsilons.index(profile.first_epsilon)
        return Ladder(tuple(at_size(e, math.prod(shape)) for e in profile.epsilons), first, profile.starts)

    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return delta = 0."""
        return torch.zeros(shape)

    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return epsilon."""
        return epsilon

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return clip(x + delta)."""
        return (images + parameters).clamp(0, 1)

    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return delta on or inside the ball."""
        parameters = parameters.clamp(-1, 1)
        return unit_ball(parameters, parameters.flatten(1).norm(dim=1), epsilon)

    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return None: the change is the trigger."""
        return None

    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return its norm."""
        return f"added to the image, L2 norm {parameters.norm():.2f}"
