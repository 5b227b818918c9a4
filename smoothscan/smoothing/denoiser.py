"""One-step denoising: a diffusion model guesses the clean image behind a noisy one (Carlini et al. 2022).

An image with noise of level sigma is, up to its scale, what the model was trained on at one of its steps (`steps.py`).
One run of the model there predicts the noise, the image or the velocity, from each of which the clean image follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smoothscan.activations import activation_bytes
from smoothscan.meter import Meter
from smoothscan.smoothing.steps import closest_steps

Prediction = Literal["epsilon", "sample", "v_prediction"]
Size = tuple[int, int]
S = TypeVar("S")
T = TypeVar("T")


class Denoiser(nn.Module):
    """D: noisy images [B, C, H, W] in [0, 1] pixel units -> clean ones, differentiable in the images.

    Args:
        unet: the diffusion model, called with images [B, C, h, w] in [-1, 1] and a step; its answer has `sample`,
            [B, C, h, w], or [B, 2 C, h, w] if it predicts its own variance as well, which is left out.
        alphas_cumprod: abar_t of each step, [T], descending.
        prediction: what the model predicts.
        channels: number of channels C.
        size: height and width that the model works at, to which images are brought; None for any.
        multiple: number that height and width have to be multiples of where `size` is None.
        memory_bytes: memory for the activations of one batch; a larger one is computed once more on the way back.
        threads: parts of a batch that are worked on side by side on a CPU.
        device: where the model computes.
        low_precision: whether it computes in bfloat16.
        meter: told how many images went through.
    """

    def __init__(
        self,
        unet: nn.Module,
        alphas_cumprod: Tensor,
        prediction: Prediction,
        channels: int,
        *,
        size: Size | None = None,
        multiple: int = 1,
        memory_bytes: int = 2**29,
        threads: int = 1,
        device: str = "cpu",
        low_precision: bool = False,
        meter: Meter | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet.to(device).eval().requires_grad_(False)
        self.alphas_cumprod = alphas_cumprod.double()
        self.prediction, self.channels = prediction, channels
        self.size, self.multiple = size, multiple
        self.device, self.low_precision = torch.device(device), low_precision
        self.meter = meter or Meter()
        self.threads = threads if self.device.type == "cpu" else 1
        self.workers: ThreadPoolExecutor | None = None
        if self.threads > 1:
            # parts of a batch side by side keep the cores busier than threads inside of each small operation
            self.workers = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))
        image = torch.full((1, channels, *(size or (multiple, multiple))), 0.5)
        self._bytes_per_pixel = (activation_bytes(lambda x: self.guess(x, 0.1), image) or 1) / image[0, 0].numel()
        self.memory_bytes = memory_bytes

    def step(self, sigma: float) -> int:
        """Return the step t whose noise-to-signal ratio is closest to 2 sigma, by their quotient.

        Args:
            sigma: noise level in [0, 1] pixel units.
        """
        return int(closest_steps(self.alphas_cumprod, torch.tensor([sigma], dtype=torch.float64)))

    def forward(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return D(x + sigma z), [B, C, H, W]; as images are, but not cut to [0, 1].

        Args:
            noisy: x + sigma z, [B, C, H, W], not cut to [0, 1].
            sigma: noise level in [0, 1] pixel units; 0 leaves the images as they are.
        """
        if not sigma:
            return noisy
        denoised: Tensor = _OneStep.apply(noisy, sigma, self)  # type: ignore[no-untyped-call]
        return denoised

    def guess(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return what `forward` does for one part of a batch, computed in one go."""
        x = noisy.to(self.device) * 2 - 1
        shape = (int(x.shape[-2]), int(x.shape[-1]))
        x, gain = self._fitted(x, shape)
        t = self.step(sigma * gain)
        signal, noise = math.sqrt(self.alphas_cumprod[t]), math.sqrt(1 - self.alphas_cumprod[t])
        x_t = signal * x
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low_precision):
            predicted = self.unet(x_t, torch.tensor(t, device=self.device)).sample[:, : self.channels].float()
        if self.prediction == "epsilon":
            clean = x - noise / signal * predicted
        elif self.prediction == "v_prediction":
            clean = signal * x_t - noise * predicted
        else:
            clean = predicted
        return self._unfitted((clean + 1) / 2, shape).to(noisy.device)

    def _fitted(self, x: Tensor, shape: Size) -> tuple[Tensor, float]:
        """Return images at the model's size, and how much of the noise is left there."""
        if self.size is None:
            below, right = (-side % self.multiple for side in shape)
            return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x, 1.0
        if self.size == shape:
            return x, 1.0
        gain = math.prod(_noise_left(before, after) for before, after in zip(shape, self.size, strict=True))
        return _resized(x, self.size), gain

    def _unfitted(self, x: Tensor, shape: Size) -> Tensor:
        if self.size is None:
            return x[..., : shape[0], : shape[1]]
        return x if self.size == shape else _resized(x, shape)

    def batch_size(self, shape: Size) -> int:
        """Return the most images [C, *shape] whose activations fit into memory at once."""
        pixels = math.prod(self.size or shape)
        return max(int(self.memory_bytes // (self._bytes_per_pixel * pixels)), 1)

    def side_by_side(self, work: Callable[[S], T], parts: Sequence[S]) -> list[T]:
        """Do some work on all parts, on the cores that there are."""
        if self.workers is None or len(parts) == 1:
            return [work(part) for part in parts]
        return list(self.workers.map(work, parts))


class StraightThrough(nn.Module):
    """The same denoiser, with gradients as if it changed nothing: they cost no way back through it.

    Denoising hardly moves an image, so that what the classifier wants of the denoised image is about what it wants of
    the noisy one (backward pass differentiable approximation, Athalye et al. 2018, section 4.1).

    Args:
        denoiser: the denoiser.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return D(x + sigma z), [B, C, H, W]; arguments as those of the denoiser."""
        with torch.no_grad():
            clean: Tensor = self.denoiser(noisy, sigma)
        return noisy + (clean - noisy).detach()


class _OneStep(torch.autograd.Function):
    """A batch through the denoiser in parts; each keeps its activations, or is computed again where memory is short."""

    @staticmethod
    def forward(ctx: Any, noisy: Tensor, sigma: float, denoiser: Denoiser) -> Tensor:
        """Return the denoised images."""
        most = denoiser.batch_size((noisy.shape[-2], noisy.shape[-1]))
        size = max(min(math.ceil(len(noisy) / denoiser.threads), most // denoiser.threads), 1)
        ctx.denoiser, ctx.sigma, ctx.parts = denoiser, sigma, []
        keep = ctx.needs_input_grad[0] and len(noisy) <= most

        def denoised(part: Tensor) -> tuple[Tensor, Tensor]:
            with torch.set_grad_enabled(keep):
                leaf = part.detach().requires_grad_(keep)
                return leaf, denoiser.guess(leaf, sigma)

        found = denoiser.side_by_side(denoised, torch.split(noisy, size))
        denoiser.meter.denoiser_passes += len(noisy) / 3
        if ctx.needs_input_grad[0]:
            ctx.parts = found if keep else [(leaf, None) for leaf, _ in found]
        return torch.cat([clean.detach() for _, clean in found])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to the noisy images."""
        denoiser, sigma = ctx.denoiser, ctx.sigma

        def gradient(part: tuple[tuple[Tensor, Tensor | None], Tensor]) -> Tensor:
            (leaf, clean), mine = part
            if clean is None:
                with torch.enable_grad():
                    leaf = leaf.detach().requires_grad_(True)
                    clean = denoiser.guess(leaf, sigma)
            (gradient,) = torch.autograd.grad(clean, leaf, mine)
            return gradient

        cotangents = torch.split(cotangent, [len(leaf) for leaf, _ in ctx.parts])
        gradients = denoiser.side_by_side(gradient, list(zip(ctx.parts, cotangents, strict=True)))
        denoiser.meter.denoiser_passes += len(cotangent) * 2 / 3
        ctx.parts = []
        return torch.cat(gradients), None, None


def _resized(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True)


def _noise_left(before: int, after: int) -> float:
    """Return the standard deviation of white noise of level 1 along one axis after resizing, the root of its mean."""
    weights = _resized(torch.eye(before)[None, None], (after, before))[0, 0]
    return float(weights.square().sum(1).mean().sqrt())
