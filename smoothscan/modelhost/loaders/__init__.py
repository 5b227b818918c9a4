"""From a model's files to a module that can be called: one file for each flavor; bytes become objects only here."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import torch

from smoothscan.modelhost.loaders.interface import Loaded, Loader
from smoothscan.result import InputSpec
from smoothscan.stored import Flavor, Stored


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Load the model in `folder` as what the scanner found it to be, whatever else lies there.

    Args:
        folder: a local MLflow model.
        stored: where the network lies in it, and in which format.
        spec: how images become the network's input.
        device: where to put it.

    Raises:
        LoadError: a library is missing, or the files do not fit together.
        UnsupportedError: no gradient flows through what is there.
    """
    return _loader(stored.flavor)(folder, stored, spec, device)


def _loader(flavor: Flavor) -> Loader:
    match flavor:
        case "pytorch/pt2":
            from smoothscan.modelhost.loaders.exported import load as loader
        case "pytorch/pickle":
            from smoothscan.modelhost.loaders.pickled import load as loader
        case "pytorch/torchscript":
            from smoothscan.modelhost.loaders.torchscript import load as loader
        case "transformers":
            from smoothscan.modelhost.loaders.transformers import load as loader
        case "safetensors":
            from smoothscan.modelhost.loaders.safetensors import load as loader
        case "onnx":
            from smoothscan.modelhost.loaders.onnx import load as loader
        case "pyfunc/pickle" | "pyfunc/code":
            from smoothscan.modelhost.loaders.pyfunc import load as loader
        case _:
            assert_never(flavor)
    return loader
