"""Trigger inversion: a perturbation that leads the smoothed classifier to a class (Sun & Kolter 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier

MAX_SHIFT = 0.2
"""Largest shift of a view, as a share of height and width."""


@dataclass(frozen=True)
class Inversion:
    """What one search for perturbations gave."""

    deltas: Tensor
    """delta of each class, [G, C, H, W]."""
    silent: Tensor
    """Number of steps in which the gradient of each class was exactly zero, [G]."""


def invert(
    smoothed: SmoothedClassifier,
    images: Tensor,
    targets: Tensor,
    start: Tensor,
    *,
    epsilon: float,
    profile: Profile,
    noise: KeyedNoise,
    first_step: int,
    on_step: Callable[[int], None],
) -> Inversion:
    """Maximise log g_t(x + delta) over ||delta||_2 <= epsilon, one delta for each class, all classes at once.

    Projected gradient ascent with momentum and L2-normalised gradients; pixels stay in [0, 1]. Without views this is
    the paper's algorithm; with views (see `views`) the mean is over variations of x as well, and delta is not cut to
    the room that x itself leaves.

    Args:
        smoothed: g.
        images: x, the synthesis images of each class, [G, M, C, H, W] in [0, 1]; without views M is 1.
        targets: t, [G].
        start: delta to start from, [G, C, H, W].
        epsilon: L2 budget at this input size, in [0, 1] pixel units.
        profile: steps, noise vectors, step size and momentum.
        noise: source of z, keyed by class and step.
        first_step: number of the first step; noise goes on counting from budget to budget.
        on_step: told the number of gradient passes after each step.
    """
    delta, velocity = start.clone(), torch.zeros_like(start)
    silent = torch.zeros(len(targets))
    for step in range(first_step, first_step + profile.steps):
        z = torch.stack([noise.vectors(int(t), step, profile.n_noise, antithetic=profile.antithetic) for t in targets])
        x = views(images, targets, step, profile.n_noise, noise) if profile.views else images
        delta.requires_grad_(True)
        perturbed = (x + delta[:, None]).clamp(0, 1) if profile.views else x + delta[:, None]
        log_g = smoothed(perturbed, z).gather(1, targets[:, None])
        (gradient,) = torch.autograd.grad(log_g.sum(), delta)
        delta = delta.detach()
        silent += gradient.flatten(1).norm(dim=1) == 0
        rate = profile.step_size * epsilon * (1.0 if step - first_step < profile.halve_at * profile.steps else 0.5)
        velocity = profile.momentum * velocity + _unit(gradient)
        delta = delta + rate * velocity
        delta = delta.clamp(-1, 1) if profile.views else (images[:, 0] + delta).clamp(0, 1) - images[:, 0]
        delta = project(delta, epsilon)
        on_step(len(targets) * profile.n_noise)
    return Inversion(delta, silent)


def views(images: Tensor, targets: Tensor, step: int, count: int, noise: KeyedNoise) -> Tensor:
    """Return variations of the images, [G, N, C, H, W] in [0, 1]: contrast from none to full, shifted around the edges.

    A perturbation that works on one image may lean on what that image shows, or find no room where the image is white
    or black already. Seen against all views at once it has to stand for itself, which is what makes it transfer.

    Args:
        images: [G, M, C, H, W] in [0, 1]; the views take them in turn, a pair of views the same one.
        targets: class of each, [G]; with `step` the key of the shifts.
        step: number of the gradient step.
        count: number of views N; two in a row share their contrast, like the noise vectors of an antithetic pair.
        noise: source of the shifts.
    """
    height, width = images.shape[3:]
    most = round(MAX_SHIFT * height), round(MAX_SHIFT * width)
    contrast = torch.linspace(0, 1, (count + 1) // 2).repeat_interleave(2)[:count].view(1, count, 1, 1, 1)
    # the first pair has no contrast, so that with several images another one is hidden in every step
    turn = [(step + n // 2) % images.shape[1] for n in range(count)]
    mean = images.mean((2, 3, 4))[:, turn].view(-1, count, 1, 1, 1)
    offsets = [noise.shifts(int(t), step, count, most) for t in targets]
    shifted = torch.stack(
        [
            torch.stack([own[i].roll(offset, (1, 2)) for i, offset in zip(turn, mine, strict=True)])
            for own, mine in zip(images, offsets, strict=True)
        ]
    )
    return mean + contrast * (shifted - mean)


def project(delta: Tensor, epsilon: float) -> Tensor:
    """Return delta [G, C, H, W] on or inside the L2 ball of radius epsilon, each on its own."""
    norm = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    shrink: Tensor = (epsilon / norm.clamp_min(1e-12)).clamp_max(1)
    return delta * shrink


def _unit(gradient: Tensor) -> Tensor:
    norm = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return torch.where(norm > 0, gradient / norm.clamp_min(torch.finfo(gradient.dtype).tiny), gradient)
