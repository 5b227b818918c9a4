"""Weights without a network: which file they are, and which architecture of timm or torchvision they belong to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from smoothscan.errors import UnsupportedModelError
from smoothscan.sources.interface import Artifact
from smoothscan.stored import ARCHITECTURE, Stored

_MAX_CONFIG_BYTES = 16 * 2**20


def weights(folder: Path) -> str | None:
    """Return the file that holds the weights: the only *.safetensors file, or the only one named model.safetensors."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors") if path.is_file())
    named = [name for name in found if Path(name).name == "model.safetensors"]
    for candidates in (found, named):
        if len(candidates) == 1:
            return candidates[0]
    return None


def stated(folder: Path, file: str, mlmodel: dict[str, Any]) -> str | None:
    """Return the architecture that the model's files name; None if they name none.

    It stands in the config.json beside the weights, where timm writes its bare name, or in the metadata of the MLmodel
    file.
    """
    metadata = mlmodel.get("metadata")
    beside = config_json((folder / file).parent).get("architecture")
    for name in (
        f"timm/{beside}" if isinstance(beside, str) and "/" not in beside else beside,
        metadata.get("architecture") if isinstance(metadata, dict) else None,
    ):
        if isinstance(name, str) and ARCHITECTURE.fullmatch(name):
            return name
    return None


def with_architecture(artifact: Artifact, named: str | None) -> Artifact:
    """Return the model with the architecture that the user names, which counts before what its files say.

    Args:
        artifact: any model; one that is more than weights is returned as it is.
        named: the user's choice.

    Raises:
        UnsupportedModelError: there are only weights, and nobody says which network they belong to.
    """
    stored = artifact.stored
    file = stored.path if stored.flavor == "safetensors" else weights(artifact.path)
    if named is not None and file is not None and stored.flavor in ("safetensors", "pyfunc/pickle", "pyfunc/code"):
        stored = Stored(flavor="safetensors", path=file, architecture=named)
    if stored.flavor == "safetensors" and stored.architecture is None:
        raise UnsupportedModelError(
            f"{stored.path} holds weights, but nothing says which network they belong to.",
            "Pass --architecture timm/NAME or --architecture torchvision/NAME, or log the network itself with "
            "mlflow.pytorch.",
        )
    info = artifact.info.model_copy(update={"flavor": stored.flavor, "architecture": stored.architecture})
    return dataclasses.replace(artifact, stored=stored, info=info)


def config_json(folder: Path) -> dict[str, Any]:
    """Return what the config.json of a folder says; empty if there is none that can be read."""
    return read_json(folder / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """Return the table that a JSON file holds; empty if there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
            return {}
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
