"""Which step of a diffusion model belongs to a noise level.

A diffusion model is trained on x_t = sqrt(abar_t) x + sqrt(1 - abar_t) z, images x scaled to [-1, 1]. An image with
noise of level sigma is such an x_t, up to its scale, at the step t where sqrt(1 - abar_t) / sqrt(abar_t) = 2 sigma.
"""

from __future__ import annotations

from torch import Tensor


def noise_ratios(alphas_cumprod: Tensor) -> Tensor:
    """Return the noise-to-signal ratio sqrt(1 - abar_t) / sqrt(abar_t) of each step, [T], ascending.

    Args:
        alphas_cumprod: abar_t of each step, [T], descending.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def closest_steps(alphas_cumprod: Tensor, sigmas: Tensor) -> Tensor:
    """Return for each noise level the step t whose noise-to-signal ratio is closest to 2 sigma, by their quotient.

    Args:
        alphas_cumprod: abar_t of each step, [T], descending.
        sigmas: noise levels in [0, 1] pixel units, [B], above 0.

    Returns:
        Steps, [B], int64.
    """
    wanted = (2 * sigmas).log()
    return (noise_ratios(alphas_cumprod).log() - wanted[:, None]).abs().argmin(1)
