"""The diffusion model that is trained: a small U-Net of diffusers, and the scheduler that goes with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from smoothscan.training.settings import WIDTHS, Settings


def make_network(settings: Settings) -> nn.Module:
    """Return an untrained network whose weights depend on the seed alone."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        network: nn.Module = UNet2DModel(  # type: ignore[no-untyped-call, assignment]
            sample_size=(settings.height, settings.width),
            in_channels=settings.channels,
            out_channels=settings.channels,
            layers_per_block=1,
            block_out_channels=WIDTHS,
            down_block_types=("DownBlock2D",) * len(WIDTHS),
            up_block_types=("UpBlock2D",) * len(WIDTHS),
            norm_num_groups=8,
            add_attention=False,
        )
    return network


def make_scheduler() -> Any:
    """Return the noise levels of Ho et al. 2020, which most diffusion models have."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, clip_sample=False)  # type: ignore[no-untyped-call]
