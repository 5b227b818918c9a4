"""Loads an MLflow model's PyTorch module; the only place where a model's bytes become objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load(folder: Path, device: torch.device) -> Any:
    """Return the module of the MLflow model in `folder`, in evaluation mode.

    Whether pickles may be read is decided by the environment that the scanner gave this process, which MLflow checks.

    Args:
        folder: a local MLflow model with a pytorch flavor.
        device: where to put it; an exported model stays where it was exported for.
    """
    import mlflow.pytorch

    if (folder / "data" / "model.pt2").exists():
        return mlflow.pytorch.load_model(str(folder))  # an exported module keeps the mode it was exported in
    module = mlflow.pytorch.load_model(str(folder), map_location=device, weights_only=False)
    return module.to(device).eval() if isinstance(module, torch.nn.Module) else module
