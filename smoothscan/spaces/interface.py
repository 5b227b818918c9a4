"""What a trigger may be: the interface of all trigger spaces.

A trigger is small in its own domain: a patch covers few pixels, a sinusoid has one frequency, a warp moves pixels a
little. Each space says how its parameters change an image and how large they are; the search, the schedule and the
statistic are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.vocabulary import SPACES, SpaceName

Shape = tuple[int, int, int]
"""Channels, height and width of the images."""
REFERENCE_SIDE = 32
"""Shorter side of an image at which budgets in pixels are quoted."""


@dataclass(frozen=True)
class Ladder:
    """The budgets of a search."""

    epsilons: tuple[float, ...]
    """Budgets at this input size, in the space's own unit, ascending."""
    first: int | None
    """Position at which a continuation begins; None inverts every class at every budget from nothing."""
    starts: int = 1
    """Searches from nothing there."""


class Space(ABC):
    """One kind of trigger, with parameters of shape P.

    Some kinds have a discrete part that gradients do not move, a patch's position or a sinusoid's frequency. A search
    begins with the best of a `dictionary`, or leaves that part open (`scattered`) and then settles on one of
    `candidates`.
    """

    name: ClassVar[SpaceName]
    """Name of the space."""
    sigma_share: ClassVar[float] = 1.0
    """Noise level of the search, as a share of the model's own."""
    level: ClassVar[float] = 0.5
    """Share of the held-out images at which a class counts as transferring: more than ordinary classes easily reach."""
    effort: ClassVar[float] = 1.0
    """Steps of a search, as a share of the profile's: fewer where there are few parameters."""
    least_channels: ClassVar[int] = 1
    """Fewest channels of images that can have such triggers."""
    guarded: ClassVar[bool] = True
    """Whether a search keeps what it settled on where its steps make it worse."""

    @property
    def title(self) -> str:
        """Name of the space in words."""
        return SPACES[self.name].title

    @abstractmethod
    def ladder(self, profile: Profile, shape: Shape) -> Ladder:
        """Return the budgets for images of this shape."""

    @abstractmethod
    def nothing(self, shape: Shape, epsilon: float) -> Tensor:
        """Return the parameters that a search starts from, [*P]."""

    @abstractmethod
    def radius(self, shape: Shape, epsilon: float) -> float:
        """Return the L2 norm of parameters at this budget, of which a gradient step is a fraction."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return images with triggers, [B, N, C, H, W] in [0, 1].

        Args:
            images: [B, N or 1, C, H, W] in [0, 1].
            parameters: [B, N or 1, *P].
        """

    @abstractmethod
    def retract(self, parameters: Tensor, epsilon: float, shape: Shape) -> Tensor:
        """Return parameters [G, *P] brought back to the budget, each on its own."""

    def dictionary(self, shape: Shape, epsilon: float) -> Tensor | None:
        """Return triggers at this budget to begin a search with, [M, *P]; None where it begins with nothing."""
        del shape, epsilon
        return None

    def scattered(self, parameters: Tensor, targets: Tensor, step: int, count: int, noise: KeyedNoise) -> Tensor:
        """Return parameters with the discrete part drawn at random, [G, count or 1, *P]; here there is none.

        Args:
            parameters: [G, *P].
            targets: class of each, [G]; with `step` the key of the draw.
            step: number of the gradient step.
            count: number of draws.
            noise: source of the draws.
        """
        del targets, step, count, noise
        return parameters[:, None]

    def candidates(self, parameters: Tensor, epsilon: float, *, settled: bool) -> Iterable[Tensor] | None:
        """Return choices of the discrete part at this budget, each [G, *P], or None where there is none.

        Args:
            parameters: [G, *P], with the discrete part open, or settled at another budget.
            epsilon: budget.
            settled: which of the two.
        """
        del parameters, epsilon, settled
        return None

    def control(self, parameters: Tensor, target: int, noise: KeyedNoise) -> Tensor:
        """Return a matched control for parameters [*P]: the same values in random places.

        Args:
            parameters: [*P].
            target: class t, the key of the order.
            noise: source of the order.
        """
        order = torch.from_numpy(noise.permutation(target, parameters.numel()))
        return parameters.flatten()[order].view_as(parameters)

    @abstractmethod
    def picture(self, parameters: Tensor, shape: Shape) -> Tensor | None:
        """Return a picture of the trigger by itself, [C, H, W] in [0, 1]; None if the change it makes says it all."""

    @abstractmethod
    def described(self, parameters: Tensor, shape: Shape) -> str:
        """Return the trigger in a few words."""


@dataclass(frozen=True)
class Trigger:
    """One trigger of one space."""

    space: Space
    """The space."""
    parameters: Tensor
    """Its parameters, [*P]."""

    def on(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [0, 1] with the trigger."""
        return self.space.apply(images[None], self.parameters[None, None])[0]


def unit_ball(parameters: Tensor, norms: Tensor, epsilon: float) -> Tensor:
    """Return parameters [G, *P] of size `norms` [G] scaled down to at most epsilon."""
    shrink: Tensor = (epsilon / norms.clamp_min(1e-12)).clamp_max(1)
    return parameters * shrink.view(-1, *[1] * (parameters.dim() - 1))
