"""Image classifiers of the transformers library, as mlflow.transformers stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smoothscan.modelhost.loaders.interface import Loaded, library
from smoothscan.result import InputSpec
from smoothscan.stored import Stored


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Build the network that config.json describes and read its weights: no code of the model's, no network access.

    Raises:
        LoadError: transformers is not installed.
    """
    transformers = library("transformers", "transformers")
    network = transformers.AutoModelForImageClassification.from_pretrained(
        str(folder / stored.path),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,  # half precision is how weights are stored, not how gradients are computed
    )
    return Loaded(_Logits(network.to(device).eval()))


class _Logits(nn.Module):
    """A network that answers a bare tensor."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixel_values).logits
        return logits
