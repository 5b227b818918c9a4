"""Trigger inversion: a perturbation that leads the smoothed classifier to a class (Sun & Kolter 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier


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
) -> Tensor:
    """Maximise log g_t(x + delta) over ||delta||_2 <= epsilon, one delta for each class, all classes at once.

    Projected gradient ascent with momentum and L2-normalised gradients; pixels stay in [0, 1].

    Args:
        smoothed: g.
        images: x, the synthesis image of each class, [G, C, H, W] in [0, 1].
        targets: t, [G].
        start: delta to start from, [G, C, H, W].
        epsilon: L2 budget at this input size, in [0, 1] pixel units.
        profile: steps, noise vectors, step size and momentum.
        noise: source of z, keyed by class and step.
        first_step: number of the first step; noise goes on counting from budget to budget.
        on_step: told the number of gradient passes after each step.

    Returns:
        delta, [G, C, H, W].
    """
    delta, velocity = start.clone(), torch.zeros_like(start)
    for step in range(profile.steps):
        z = torch.stack(
            [noise.vectors(int(t), first_step + step, profile.n_noise, antithetic=profile.antithetic) for t in targets]
        )
        delta.requires_grad_(True)
        log_g = smoothed(images + delta, z).gather(1, targets[:, None])
        (gradient,) = torch.autograd.grad(log_g.sum(), delta)
        delta = delta.detach()
        rate = profile.step_size * epsilon * (1.0 if step < profile.halve_at * profile.steps else 0.5)
        velocity = profile.momentum * velocity + _unit(gradient)
        delta = (images + delta + rate * velocity).clamp(0, 1) - images
        delta = project(delta, epsilon)
        on_step(len(targets) * profile.n_noise)
    return delta


def project(delta: Tensor, epsilon: float) -> Tensor:
    """Return delta [G, C, H, W] on or inside the L2 ball of radius epsilon, each on its own."""
    norm = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    shrink: Tensor = (epsilon / norm.clamp_min(1e-12)).clamp_max(1)
    return delta * shrink


def _unit(gradient: Tensor) -> Tensor:
    norm = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return torch.where(norm > 0, gradient / norm.clamp_min(torch.finfo(gradient.dtype).tiny), gradient)
