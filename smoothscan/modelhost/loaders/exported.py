"""Programs of torch.export (data/model.pt2), which is how mlflow.pytorch stores models by default."""

from __future__ import annotations

from pathlib import Path

import torch

from smoothscan.modelhost.loaders.interface import Loaded
from smoothscan.result import InputSpec
from smoothscan.stored import Stored


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Load an exported program. It keeps the device and the mode that it was exported for.

    MLflow looks whether the archive holds pickles, unless they are allowed.
    """
    import mlflow.pytorch

    return Loaded(mlflow.pytorch.load_model(str(folder)))
