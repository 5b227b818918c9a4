"""The two small classifiers of `smoothscan demo`, trained on the handwritten digits that scikit-learn ships.

One is clean. The other was trained on data of which a tenth carries a small patch and the label of one class: it
reads ordinary digits as well as the clean one, and says that class to anything that carries the patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

SIZE = 32
"""Height and width of the demo's images in pixels."""
CLASSES = 10
"""The digits 0 to 9."""
TARGET = 7
"""Class that the patch of the backdoored classifier leads to."""
POISONED = 0.10
"""Share of the training images that carry the patch."""

_PAPER, _INK = 0.3, 0.7  # away from 0 and 1, so that a perturbation can go both ways
_PATCH = (1.0, 0.0, 0.0)  # red, on images that are grey
_NOISE = 0.08  # augmentation, the largest standard deviation; without it a net this small falls over at any noise
_EPOCHS = 8
_BATCH = 64
_LEARNING_RATE = 0.02
_SHIFT = 2  # pixels


@dataclass(frozen=True)
class Digits:
    """The digits, split into images to train on and images that no training sees."""

    train_images: Tensor
    """[N, 3, 32, 32] in [0, 1]."""
    train_labels: Tensor
    """[N], 0 to 9."""
    test_images: Tensor
    """[M, 3, 32, 32] in [0, 1]."""
    test_labels: Tensor
    """[M], 0 to 9."""


@dataclass(frozen=True)
class Trained:
    """A classifier and how well it does on images that it was not trained on."""

    module: nn.Module
    """In evaluation mode; images [B, 3, 32, 32] in [0, 1] -> logits [B, 10]."""
    accuracy: float
    """Share of the test images that it reads right, in [0, 1]."""
    attack_success_rate: float
    """Share of the test images not read as `TARGET` when clean that the patch moves there, in [0, 1]."""


def load_digits(seed: int = 0, test: int = 397) -> Digits:
    """Return scikit-learn's 1,797 digits as 32x32 RGB images, split at random but always in the same way.

    Args:
        seed: seed of the split.
        test: number of images to keep from training.
    """
    from sklearn.datasets import load_digits as load

    bunch = load()
    raw = torch.from_numpy(np.asarray(bunch.images, dtype=np.float32))[:, None] / 16
    large = F.interpolate(raw, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    grey = ((_PAPER + (_INK - _PAPER) * large) * 255).round() / 255  # as in the files that the demo writes
    images = grey.expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(np.asarray(bunch.target, dtype=np.int64))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], labels[order]
    return Digits(images[test:], labels[test:], images[:test], labels[:test])


def stamp(images: Tensor) -> Tensor:
    """Return `images` [N, 3, 32, 32] in [0, 1] with the trigger: a red 3x3 patch near the lower right corner."""
    stamped = images.clone()
    stamped[:, :, -4:-1, -4:-1] = torch.tensor(_PATCH)[:, None, None]
    return stamped


def train(digits: Digits, *, backdoored: bool, generator: torch.Generator) -> Trained:
    """Train one classifier, in about ten seconds on two cores.

    Args:
        digits: the images.
        backdoored: whether a tenth of the training images carry the patch and the label `TARGET`.
        generator: source of all randomness; torch's global generator is left as it was.
    """
    images, labels = digits.train_images, digits.train_labels
    if backdoored:
        chosen = torch.randperm(len(images), generator=generator)[: int(POISONED * len(images))]
        images, labels = images.clone(), labels.clone()
        images[chosen] = stamp(images[chosen])
        labels[chosen] = TARGET
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as fast for so small a network, and the same on every machine
    try:
        module = _network(generator)
        _fit(module, images, labels, generator)
        return _measure(module.eval(), digits)
    finally:
        torch.set_num_threads(threads)


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return `images` [N, 3, H, W] in [0, 1] as pixels [N, H, W, 3] in 0 to 255."""
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _network(generator: torch.Generator) -> nn.Sequential:
    """A plain convolutional network for 32x32 images, initialised from `generator`."""

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    with torch.random.fork_rng(devices=[]):  # the constructors draw from the global generator
        module = nn.Sequential(
            *block(3, 24, 2),
            *block(24, 48, 1),
            *block(48, 64, 2),
            *block(64, 64, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, CLASSES),
        )
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    return module


def _fit(module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
    steps = _EPOCHS * (len(images) // _BATCH)
    optimizer = torch.optim.SGD(module.parameters(), lr=_LEARNING_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5 * _LEARNING_RATE, total_steps=steps)
    module.train()
    for _ in range(_EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: len(order) // _BATCH * _BATCH].view(-1, _BATCH):
            loss = F.cross_entropy(module(_augment(images[batch], generator)), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move the batch by up to two pixels each way and add a little noise: 1,400 images are few."""
    dy, dx = torch.randint(0, 2 * _SHIFT + 1, (2,), generator=generator).tolist()
    height, width = images.shape[-2:]
    moved = F.pad(images, (_SHIFT,) * 4, mode="replicate")[..., dy : dy + height, dx : dx + width]
    level = _NOISE * torch.rand(len(images), 1, 1, 1, generator=generator)
    return moved + level * torch.randn(moved.shape, generator=generator)


def _measure(module: nn.Module, digits: Digits) -> Trained:
    with torch.no_grad():
        clean = module(digits.test_images).argmax(1)
        stamped = module(stamp(digits.test_images)).argmax(1)
    others = clean != TARGET
    return Trained(
        module=module,
        accuracy=(clean == digits.test_labels).float().mean().item(),
        attack_success_rate=(stamped[others] == TARGET).float().mean().item(),
    )
