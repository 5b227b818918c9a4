"""How a model is stored: what the scanner reads from its files, and tells the model host."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

Flavor = Literal[
    "pytorch/pt2",
    "pytorch/pickle",
    "pytorch/torchscript",
    "transformers",
    "safetensors",
    "onnx",
    "pyfunc/pickle",
    "pyfunc/code",
]


ARCHITECTURE = re.compile(r"(?:timm|torchvision)/[A-Za-z0-9_.-]{1,100}")
"""How an architecture is named."""


class Stored(BaseModel):
    """Where the network lies in a model's folder, and in which format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flavor: Flavor
    """The format."""
    path: str
    """The file or folder that holds the network, inside the model's folder."""
    architecture: str | None = None
    """`timm/<name>` or `torchvision/<name>`, where the files hold weights alone."""


class DiffusionFiles(BaseModel):
    """A diffusion model on this machine, in the files that diffusers saves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    """What the user calls it."""
    unet: str
    """Folder of the network's configuration and weights."""
    scheduler: str
    """Folder of the scheduler's configuration."""
    scheduler_class: str
    """The scheduler's class in diffusers."""
    digest: str
    """`sha256:<hex>` over these files."""


def wraps(flavor: str | None) -> bool:
    """Return whether a model's signature and example are about a wrapper's input instead of the network's."""
    return flavor == "transformers" or (flavor or "").startswith("pyfunc/")
