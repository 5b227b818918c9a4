"""What a loader does, and what it hands over."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from smoothscan.result import InputSpec
from smoothscan.stored import Stored


@dataclass(frozen=True)
class Loaded:
    """A model that can be called, in evaluation mode."""

    module: Any
    """Takes the model's input, [B, C, H, W] or [B, H, W, C]."""
    training_ops: tuple[str, ...] = ()
    """Operations that run in training mode all the same, where the module's graph does not show them."""


class Loader(Protocol):
    """Loads one flavor. Heavy libraries are imported when it is called."""

    def __call__(self, folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
        """Load the model; see `smoothscan.modelhost.loaders.load`."""


class LoadError(Exception):
    """The model does not load, for a reason that can be told.

    Args:
        message: what is wrong.
        hint: what to do next.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def library(name: str, extra: str) -> Any:
    """Import a library that only some flavors need.

    Args:
        name: name of the module.
        extra: the extra of smoothscan that brings it.

    Raises:
        LoadError: it is not installed, or does not fit the torch that is.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # a torchvision for another torch raises RuntimeError
        raise missing(name, extra, error) from error


def missing(name: str, extra: str, error: Exception) -> LoadError:
    """Return the error that says which extra brings a library."""
    return LoadError(
        f"The model needs the library {name}, which cannot be imported: {error}.",
        f"Install it into smoothscan's environment: pip install 'smoothscan[{extra}]'.",
    )


def need_code_allowed() -> None:
    """Make sure that the scanner lets this process run the model's own code.

    MLflow checks the same variable before it unpickles, but not before it runs a model's Python files.

    Raises:
        LoadError: it does not.
    """
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") != "true":
        raise LoadError(
            "Loading this model runs code that it brings along, which is not allowed.",
            "Pass --allow-model-code if you trust its author.",
        )
