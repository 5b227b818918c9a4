"""A tiny diffusion model that never learned anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def network(channels: int = 3, outputs: int | None = None, size: Any = None) -> Any:
    """Return the network; the same weights every time.

    Args:
        channels: of the images.
        outputs: channels of the answer, if it has others.
        size: height and width that it is made for, or None for any.
    """
    import torch
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=outputs or channels,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=4,
            add_attention=False,
        )


def pipeline(folder: Path, channels: int = 3, size: Any = (8, 12)) -> Path:
    """Save it as diffusers does, with a scheduler, and return the folder."""
    from diffusers import DDPMPipeline, DDPMScheduler

    unet = network(channels, size=size)
    DDPMPipeline(unet, DDPMScheduler(clip_sample=False)).save_pretrained(folder, safe_serialization=True)
    return folder
