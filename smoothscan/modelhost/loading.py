"""Loads an MLflow model's PyTorch module; the only place where a model's bytes become objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def load(folder: Path, device: torch.device, *, allow_code: bool) -> Any:
    """Return the module of the MLflow model in `folder`, in evaluation mode.

    Args:
        folder: a local MLflow model with a pytorch flavor.
        device: where to put it; an exported model stays where it was exported for.
        allow_code: whether pickles may be read, which MLflow checks as well.
    """
    os.environ["MLFLOW_ALLOW_MODEL_CODE_EXECUTION"] = str(allow_code).lower()
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = str(allow_code).lower()
    import mlflow.pytorch

    if (folder / "data" / "model.pt2").exists():
        return mlflow.pytorch.load_model(str(folder))  # an exported module keeps the mode it was exported in
    module = mlflow.pytorch.load_model(str(folder), map_location=device, weights_only=False)
    return module.to(device).eval() if isinstance(module, torch.nn.Module) else module
