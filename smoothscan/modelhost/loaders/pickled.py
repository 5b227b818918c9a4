"""Pickled modules (data/model.pth), which mlflow.pytorch writes on request."""

from __future__ import annotations

from pathlib import Path

import torch

from smoothscan.modelhost.loaders.interface import Loaded, missing
from smoothscan.result import InputSpec
from smoothscan.stored import Stored

_EXTRAS = ("timm", "torchvision", "transformers")
"""Libraries whose classes are often pickled by name, each brought by the extra of the same name."""


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Unpickle a module, if the environment that the scanner gave this process lets MLflow do it.

    Raises:
        LoadError: it refers to a library that is not installed.
    """
    import mlflow.pytorch

    try:
        module = mlflow.pytorch.load_model(str(folder), map_location=device, weights_only=False)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in _EXTRAS:
            raise missing(name, name, error) from error
        raise
    return Loaded(module.to(device).eval() if isinstance(module, torch.nn.Module) else module)
