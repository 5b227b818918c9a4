"""Folders of simple pictures to train on: discs before gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw(folder: Path, count: int = 80, height: int = 8, width: int = 8, mode: str = "RGB", kind: str = "png") -> Path:
    """Write pictures, no two alike, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    for index in range(count):
        back, front, centre = rng.random(3), rng.random(3), rng.uniform(0.3, 0.7, 2)
        ramp = (x * back[0] + y * back[1])[..., None] * back
        disc = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.04)[..., None]
        pixels = np.where(disc, front, ramp).clip(0, 1)
        image = Image.fromarray((pixels * 255).astype(np.uint8)).convert(mode)
        image.save(folder / f"image_{index:03d}.{kind}")
    return folder
