"""Weights in safetensors, put into an architecture of timm or torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smoothscan.modelhost.loaders.interface import Loaded, LoadError, library
from smoothscan.result import InputSpec
from smoothscan.stored import ARCHITECTURE, Stored

_MAX_SHOWN = 5


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Build the architecture with as many classes as the weights have, and fill it with them, all of them.

    Raises:
        LoadError: there is no such architecture, its library is missing, or the weights belong to another one.
    """
    from safetensors.torch import load_file

    name = stored.architecture or ""
    if not ARCHITECTURE.fullmatch(name):
        raise LoadError(f"{name!r} names no architecture.", "Write timm/NAME or torchvision/NAME.")
    kind, _, short = name.partition("/")
    weights = load_file(folder / stored.path)
    network = _timm(short, weights, spec) if kind == "timm" else _torchvision(short, weights)
    _fill(network, weights, name, stored.path)
    return Loaded(network.to(device).eval())


def _timm(name: str, weights: dict[str, Tensor], spec: InputSpec) -> nn.Module:
    timm = library("timm", "timm")
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    options: dict[str, Any] = {"pretrained": False, "in_chans": spec.channels}
    plain = timm.create_model(name, pretrained=False)
    size = plain.pretrained_cfg.get("input_size", (3, spec.height, spec.width))[1:]
    if plain.pretrained_cfg.get("fixed_input_size") and tuple(size) != (spec.height, spec.width):
        options["img_size"] = (spec.height, spec.width)
    network: nn.Module = timm.create_model(name, num_classes=_n_classes(plain, weights), **options)
    return network


def _torchvision(name: str, weights: dict[str, Tensor]) -> nn.Module:
    models = library("torchvision", "torchvision").models
    known = models.list_models(module=models)  # classifiers only: detection and segmentation have modules of their own
    if name not in known:
        raise _unknown("torchvision", name, known)
    plain = models.get_model(name, weights=None)
    network: nn.Module = models.get_model(name, weights=None, num_classes=_n_classes(plain, weights))
    return network


def _n_classes(plain: nn.Module, weights: dict[str, Tensor]) -> int:
    """Return the rows of the last layer's weight: how many classes the weights tell apart."""
    last = [name for name, value in plain.state_dict().items() if name.endswith("weight") and value.ndim > 1][-1]
    if last not in weights:
        raise LoadError(
            f"The weights have no {last!r}, which is the last layer of the architecture.",
            "Name the architecture that they were trained in, or log the network itself with mlflow.pytorch.",
        )
    return len(weights[last])


def _fill(network: nn.Module, weights: dict[str, Tensor], name: str, file: str) -> None:
    """Load the weights; nothing may be missing, left over or of another shape."""
    wanted = network.state_dict()
    problems = [f"{key!r} is missing" for key in wanted if key not in weights]
    problems += [f"{key!r} is left over" for key in weights if key not in wanted]
    problems += [
        f"{key!r} is {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if problems:
        more = f", and {len(problems) - _MAX_SHOWN} more" if len(problems) > _MAX_SHOWN else ""
        raise LoadError(
            f"The weights in {file} do not fit {name}: {'; '.join(problems[:_MAX_SHOWN])}{more}.",
            "Name the architecture that they were trained in, or log the network itself with mlflow.pytorch.",
        )
    network.load_state_dict(weights)


def _unknown(kind: str, name: str, known: list[str]) -> LoadError:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(f'{kind}/{other}' for other in close)}?" if close else ""
    return LoadError(f"The installed {kind} has no image classifier {name!r}.", hint or f"Update {kind}.")
