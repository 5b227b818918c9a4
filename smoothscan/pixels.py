"""From pixels to the values that a network takes, and in which arithmetic it takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from smoothscan.result import InputSpec

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
"""Data types of networks that gradients flow through."""


class Values:
    """What an input specification makes of pixels.

    Args:
        spec: value range, mean and std.
        device: where the network computes.
    """

    def __init__(self, spec: InputSpec, device: torch.device) -> None:
        low, high = spec.value_range
        mean = torch.tensor(spec.mean or (0.0,)).view(-1, 1, 1)
        std = torch.tensor(spec.std or (1.0,)).view(-1, 1, 1)
        self.device = device
        # value = (low + (high - low) pixel - mean) / std, folded into one multiplication and one addition
        self.scale = ((high - low) / std).to(device)
        self.shift = ((low - mean) / std).to(device)

    def of(self, images: Tensor) -> Tensor:
        """Return the values [B, C, H, W], float32, of images [B, C, H, W] in [0, 1]."""
        return images.to(self.device, torch.float32) * self.scale + self.shift


def dtype_of_weights(module: Callable[..., Any]) -> torch.dtype | None:
    """Return the data type that all weights have, if it is one that images can have."""
    weights = module.parameters() if isinstance(module, nn.Module) else ()
    dtypes = {weight.dtype for weight in weights if weight.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 and dtypes <= set(DTYPES.values()) else None
