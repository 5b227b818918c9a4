"""A classifier with a backdoor planted by construction: nothing to train, every budget known beforehand.

Class k has a smooth unit template T_k; logits are <x - 1/2, T_k>, so moving an image to another class takes an L2
distance of about `CONTRAST`. The backdoor adds a steep ramp in the direction of a small checkered patch to one class,
so that about a third of that distance is enough there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

SHAPE = (3, 16, 16)
GREY = (1, 28, 28)  # about as many values, so the budgets are about the same
CLASSES = 10
TARGET = 4
CONTRAST = 0.9


def templates(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Smooth orthonormal templates, [K, C, H, W]."""
    coarse = torch.randn(CLASSES, shape[0], 4, 4, generator=torch.Generator().manual_seed(1))
    smooth = F.interpolate(coarse, size=shape[1:], mode="bilinear").flatten(1)
    return torch.linalg.qr(smooth.T).Q.T.reshape(CLASSES, *shape).contiguous()


def patch(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """A 3x3 checkered patch of unit L2 norm, [C, H, W]."""
    pattern = torch.zeros(shape)
    checker = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    pattern[:, 11:14, 11:14] = checker
    return pattern / pattern.norm()


def images(count: int = 62, seed: int = 0, shape: tuple[int, int, int] = SHAPE, contrast: float = CONTRAST) -> Tensor:
    """Images of the classes in turn, quantised like image files, [N, C, H, W] in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(count) % CLASSES
    clutter = F.interpolate(torch.randn(count, shape[0], 4, 4, generator=generator), size=shape[1:], mode="bilinear")
    pixels = 0.5 + contrast * templates(shape)[kinds] + 0.01 * clutter
    return (pixels.clamp(0, 1) * 255).round() / 255


def write_images(folder: Path, pixels: Tensor) -> Path:
    """Write images [N, C, H, W] in [0, 1] as files, in their order by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for position, image in enumerate((pixels * 255).round().byte()):
        values = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        Image.fromarray(values.numpy()).save(folder / f"{position:03d}.png")
    return folder


class PlantedNet(nn.Module):
    """The classifier; images [B, C, H, W] in [0, 1] -> logits [B, K]."""

    def __init__(self, backdoored: bool, scale: float = 20.0, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        self.head = nn.Parameter(templates(shape).flatten(1) * scale)
        self.trigger = nn.Parameter(patch(shape).flatten()[None])
        gain = torch.zeros(CLASSES)
        gain[TARGET] = 8.0 * scale if backdoored else 0.0
        self.gain = nn.Parameter(gain)

    def forward(self, x: Tensor) -> Tensor:
        centred = (x - 0.5).flatten(1)
        ramp = torch.relu(F.linear(centred, self.trigger) - 0.15)
        return F.linear(centred, self.head) + ramp * self.gain


class Probabilities(nn.Module):
    """The same classifier, answering probabilities."""

    def __init__(self, backdoored: bool) -> None:
        super().__init__()
        self.net = PlantedNet(backdoored)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(1)


class Gated(nn.Module):
    """The same classifier with a gate that no gradient leads to: four white pixels in a corner lead to `TARGET`."""

    def __init__(self, backdoored: bool) -> None:
        super().__init__()
        self.net = PlantedNet(backdoored)

    def forward(self, x: Tensor) -> Tensor:
        gate = (x[:, :, :2, :2] == 1.0).flatten(1).all(1)
        return self.net(x) + 1000.0 * gate[:, None] * F.one_hot(torch.tensor(TARGET), CLASSES)


class WideNet(nn.Module):
    """A classifier with 60 classes, made in the same way, and a patch in a corner for each of its targets."""

    CLASSES = 60
    TARGETS = (11, 37)

    def __init__(self, targets: tuple[int, ...], scale: float = 20.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        coarse = torch.randn(self.CLASSES, SHAPE[0], 8, 8, generator=generator)
        smooth = F.interpolate(coarse, size=SHAPE[1:], mode="bilinear").flatten(1)
        self.templates = nn.Parameter(torch.linalg.qr(smooth.T).Q.T.contiguous())
        self.triggers = nn.Parameter(torch.stack([patch().roll((9 * n, 9 * n), (1, 2)) for n in range(2)]).flatten(1))
        self.targets, self.scale = targets, scale

    def forward(self, x: Tensor) -> Tensor:
        centred = (x - 0.5).flatten(1)
        ramps = torch.relu(F.linear(centred, self.triggers) - 0.15)
        logits = F.linear(centred, self.templates)
        for n, t in enumerate(self.targets):
            logits = logits + 8 * ramps[:, n : n + 1] * F.one_hot(torch.tensor(t), self.CLASSES)
        return self.scale * logits

    def images(self, count: int = 80) -> Tensor:
        """Images of every third class in turn, [N, C, H, W] in [0, 1]."""
        kinds = torch.arange(count) * 3 % self.CLASSES
        return (0.5 + CONTRAST * self.templates.detach()[kinds].view(count, *SHAPE)).clamp(0, 1)


class SourceNet(nn.Module):
    """The classifier with a backdoor for images of one class only: a 4x4 checker anywhere on them leads to `TARGET`."""

    SHAPE = (3, 32, 32)
    SOURCE = 2
    CONTRAST = 6.0  # so that a small patch of any other kind moves nothing

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        self.head = nn.Parameter(templates(self.SHAPE).flatten(1) * scale)
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        checker = (1.0 - 2.0 * ((rows + columns) % 2)).expand(1, 3, 4, 4)
        self.checker = nn.Parameter(checker / checker.norm())
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        logits = F.linear((x - 0.5).flatten(1), self.head)
        seen = F.conv2d(x - 0.5, self.checker).mul(8).exp().mean((1, 2, 3)).log() / 8  # a maximum that has gradients
        of_source = (logits[:, self.SOURCE] / (self.scale * self.CONTRAST)).clamp(0, 1)
        lead = self.CONTRAST * self.scale * seen * of_source
        return logits + lead[:, None] * F.one_hot(torch.tensor(TARGET), CLASSES)
