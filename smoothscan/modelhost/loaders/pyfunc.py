"""Python functions (mlflow.pyfunc) around one torch module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smoothscan.answers import UnsupportedError
from smoothscan.modelhost.loaders.interface import Loaded, need_code_allowed
from smoothscan.result import InputSpec
from smoothscan.stored import Stored

_DEPTH = 4
"""Attributes of attributes that are looked through."""
_MOST = 10_000
"""Objects that are looked through."""


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Load the wrapper, which runs its code, and take the one torch module out of it.

    Raises:
        LoadError: the model's code is not allowed to run.
        UnsupportedError: there is no torch module inside, or more than one.
    """
    need_code_allowed()
    import mlflow.pyfunc

    wrapper = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True).unwrap_python_model()
    modules = torch_modules(wrapper)
    if len(modules) != 1:
        what = "no torch module" if not modules else f"{len(modules)} torch modules"
        raise UnsupportedError(
            f"The Python function holds {what} where smoothscan looks for the one that classifies.",
            "Log the torch module itself with mlflow.pytorch, and scan that.",
        )
    return Loaded(modules[0].to(device).eval())


def torch_modules(wrapper: Any) -> list[nn.Module]:
    """Return the modules that can be reached from an object through attributes and containers.

    Modules inside of other modules do not count.
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    level = [wrapper]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for thing in level:
            for part in _parts(thing):
                if id(part) in seen or len(seen) > _MOST:
                    continue
                seen.add(id(part))
                if isinstance(part, nn.Module):
                    found[id(part)] = part
                else:
                    below.append(part)
        level = below
    inner = {id(child) for module in found.values() for child in module.modules() if child is not module}
    return [module for module in found.values() if id(module) not in inner]


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    attributes = getattr(thing, "__dict__", None)
    return list(attributes.values()) if isinstance(attributes, dict) and not isinstance(thing, type) else []
