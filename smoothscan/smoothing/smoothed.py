"""The smoothed classifier g(x) = E_z softmax f(D(x + sigma z)), z ~ N(0, I) (Sun & Kolter 2023, equation 2).

D is a one-step denoiser (Carlini et al. 2022), or the identity.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise

MEDIAN_MARGIN = 3.0
"""Median gap between the two largest logits under noise to which every model is brought, in nats.

Multiplying logits by a constant changes no prediction, so it must not change what a scan sees. The value is in the
range of ordinary CIFAR-10 classifiers (1 to 3 nats at sigma 0.12); it decides only how much a single noise vector can
dominate the mean over noise.
"""


class SmoothedClassifier(nn.Module):
    """log g_t(x) from a finite number of noise vectors, stable and free of the scale of the logits.

    Args:
        base: the base classifier f, [B, C, H, W] in [0, 1] -> logits [B, K].
        sigma: noise level in [0, 1] pixel units; 0 makes g = softmax f.
        scale: factor on the logits; see `logit_scale`.
        denoiser: D, called with noisy images and sigma; None for the identity.
    """

    def __init__(self, base: nn.Module, sigma: float, scale: float, denoiser: nn.Module | None = None) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.base = base
        self.sigma = sigma
        self.scale = scale

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return log g(x) for every class, [B, K].

        The mean of probabilities is taken as logsumexp of log-probabilities, which keeps its gradient where the base
        classifier is so confident that the probability itself is zero in floating point.

        Args:
            images: x, [B, 1, C, H, W] in [0, 1], or one view of x for each noise vector, [B, N, C, H, W].
            noise: z, [B, N, C, H, W]; the noisy images are not clipped.
        """
        batch, n = noise.shape[:2]
        seen = denoised((images + self.sigma * noise).flatten(0, 1), self.sigma, self.denoiser)
        log_p = F.log_softmax(self.base(seen) * self.scale, dim=1).view(batch, n, -1)
        return torch.logsumexp(log_p, dim=1) - math.log(n)


def denoised(noisy: Tensor, sigma: float, denoiser: nn.Module | None) -> Tensor:
    """Return D of noisy images [B, C, H, W] in [0, 1] pixel units."""
    if denoiser is None:
        return noisy
    clean: Tensor = denoiser(noisy, sigma)
    return clean


def standardised(
    base: nn.Module, sigma: float, images: Tensor, noise: KeyedNoise, denoiser: nn.Module | None = None
) -> SmoothedClassifier:
    """Return the smoothed classifier whose logits are brought to one scale on these images under its own noise.

    Args:
        base: the base classifier f, [B, C, H, W] in [0, 1] -> logits [B, K].
        sigma: noise level in [0, 1] pixel units.
        images: clean images, [N, C, H, W] in [0, 1].
        noise: source of z; the vectors are those of the noise probe.
        denoiser: D; None for the identity.
    """
    with torch.no_grad():
        seen = denoised(images + sigma * noise.vectors(PROBE_STREAM, 0, len(images)), sigma, denoiser)
    return SmoothedClassifier(base, sigma, logit_scale(base, seen), denoiser)


def logit_scale(base: nn.Module, images: Tensor) -> float:
    """Return the factor that brings the model's median margin to MEDIAN_MARGIN.

    Args:
        base: the base classifier.
        images: what the model sees in the scan, [B, C, H, W]: noisy, or denoised again.
    """
    with torch.no_grad():
        top = base(images).topk(2, dim=1).values
    margin = float((top[:, 0] - top[:, 1]).median())
    return MEDIAN_MARGIN / margin if margin > 0 else 1.0
