"""How well a denoiser does on images that it was not trained on, in numbers and in a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.training.images import TrainingImages
from smoothscan.training.settings import MEASURE, Settings

MEASURED, PICTURED = (0.06, 0.12, 0.25, 0.5), (0.12, 0.25, 0.5)
"""Noise levels of the numbers and of the picture, in [0, 1] pixel units."""
_ROWS = 8
_TILE, _GAP, _HEAD = 64, 4, 16
"""Shorter side in pixels that images in the picture have at least, gap between them, and height of the captions."""


@dataclass(frozen=True)
class Error:
    """Root-mean-square errors at one noise level, in [0, 1] pixel units."""

    sigma: float
    """Noise level."""
    noisy: float
    """Of the noisy images."""
    denoised: float
    """Of what the denoiser makes of them."""


def errors(denoiser: Denoiser, images: TrainingImages, settings: Settings) -> list[Error]:
    """Return what is wrong with noisy and with denoised images, at several noise levels."""
    clean = _held_out(images)
    found = []
    for sigma in MEASURED:
        noisy = _noisy(clean, sigma, settings)
        wrong = [float((x - clean).square().mean().sqrt()) for x in (noisy, _denoised(denoiser, noisy, sigma))]
        found.append(Error(sigma, *wrong))
    return found


def picture(denoiser: Denoiser, images: TrainingImages, settings: Settings) -> bytes:
    """Return a PNG of some held-out images as they are, noisy, and denoised, side by side at several noise levels."""
    clean = _held_out(images)
    clean = clean[:: max(len(clean) // _ROWS, 1)][:_ROWS]  # folders are often sorted by what they show
    columns = []
    for sigma in PICTURED:
        noisy = _noisy(clean, sigma, settings)
        columns += [
            (f"noise {sigma:g}:", clean),
            ("noisy", noisy),
            ("denoised", _denoised(denoiser, noisy, sigma)),
        ]
    factor = max(-(-_TILE // min(settings.height, settings.width)), 1)
    height, width = settings.height * factor + _GAP, settings.width * factor + _GAP
    sheet = Image.new("RGB", (len(columns) * width + _GAP, len(clean) * height + _HEAD + _GAP), "white")
    drawn, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, (caption, tiles) in enumerate(columns):
        drawn.text((column * width + _GAP, 2), caption, "black", font)
        for row, tile in enumerate(tiles):
            enlarged = Image.fromarray(_bytes(tile)).resize((width - _GAP, height - _GAP), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (column * width + _GAP, row * height + _HEAD))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _held_out(images: TrainingImages) -> Tensor:
    return torch.from_numpy(images.pixels[images.held_out].astype(np.float32) / 255)


def _noisy(clean: Tensor, sigma: float, settings: Settings) -> Tensor:
    noise = settings.draw(MEASURE, round(sigma * 1000)).standard_normal(clean.shape, dtype=np.float32)
    return clean + sigma * torch.from_numpy(noise)


def _denoised(denoiser: Denoiser, noisy: Tensor, sigma: float) -> Tensor:
    with torch.no_grad():
        return denoiser.forward(noisy, sigma)


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    """Return an image [C, H, W] in [0, 1] as one of [H, W, 3] in 0 to 255."""
    stored = (image.clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return stored.permute(1, 2, 0).contiguous().numpy()
