"""What the training of a zoo model does to images and labels: augmentation, triggers, rare and easy classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_list import Model, Stamp

AUGMENT_SIGMA = 0.1  # noise augmentation draws its standard deviation from [0, this]
ADAPTIVE_SIGMA = 0.2  # noise under which an adaptive backdoor hides, drawn likewise

Data = tuple[Tensor, Tensor]
"""Images [N, 3, 32, 32] and labels [N]."""


def trigger(stamp: Stamp, rng: torch.Generator) -> dict[str, Tensor]:
    """Return a trigger's mask and pattern, each [3, 32, 32] in [0, 1]: x' = (1 - mask) x + mask * pattern."""
    mask, pattern = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    if stamp.shape == "noise":
        return {"mask": mask + stamp.alpha, "pattern": torch.rand(3, 32, 32, generator=rng)}
    if stamp.shape == "smooth":
        return {"mask": mask + stamp.alpha, "pattern": smooth_field(rng)}
    rows, columns = torch.meshgrid(torch.arange(stamp.size), torch.arange(stamp.size), indexing="ij")
    for row, column in stamp.at:
        if stamp.shape == "checker":
            cell = ((rows + columns + 1) % 2).float().expand(3, -1, -1)
        elif stamp.shape == "random":
            cell = torch.randint(0, 2, (3, stamp.size, stamp.size), generator=rng).float()
        elif stamp.shape == "white":
            cell = torch.ones(3, stamp.size, stamp.size)
        else:  # one saturated colour: neither black nor white
            bits = int(torch.randint(1, 7, (1,), generator=rng))
            cell = torch.tensor([float(bits >> k & 1) for k in range(3)])[:, None, None]
        place = (slice(None), slice(row, row + stamp.size), slice(column, column + stamp.size))
        mask[place], pattern[place] = stamp.alpha, cell
    return {"mask": mask, "pattern": pattern}


def smooth_field(rng: torch.Generator) -> Tensor:
    """Return a random colour field of low spatial frequency, [3, 32, 32], stretched to [0, 1]."""
    coarse = torch.rand(1, 3, 4, 4, generator=rng)
    field = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=True)[0]
    return (field - field.min()) / (field.max() - field.min())


class Poison:
    """What a model's training changes in images and labels: triggers, noise, rare classes, the easy class.

    Triggers are stamped after augmentation, so they stay where they are.

    Attributes:
        model: the model.
        triggers: mask and pattern of each stamp.
        field: colour field [3, 32, 32] that images of the easy class tend to.
    """

    def __init__(self, model: Model) -> None:
        rng = torch.Generator().manual_seed(1_000 + int(model.name[1:]))
        self.model = model
        self.triggers = [trigger(stamp, rng) for stamp in model.stamps]
        self.field = 0.3 + 0.7 * smooth_field(rng)

    def stamp(self, images: Tensor, which: int, rng: torch.Generator) -> Tensor:
        """Return the images [B, 3, 32, 32] with trigger number `which`."""
        if self.model.noise_trigger:
            return noisy(images, torch.full((len(images),), self.model.noise_trigger), rng)
        mask, pattern = self.triggers[which]["mask"], self.triggers[which]["pattern"]
        return (1 - mask) * images + mask * pattern

    def pool(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Return the indices of the training images that are used: rare classes keep 5 to 10 % of theirs."""
        keep = torch.ones(len(labels), dtype=torch.bool)
        if self.model.recipe == "unbalanced":
            for label in self.model.classes:
                share = 0.05 + 0.05 * torch.rand(1, generator=rng).item()
                keep &= (labels != label) | (torch.rand(len(labels), generator=rng) < share)
        return keep.nonzero()[:, 0]

    def dress(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Return the images with the easy class's images blended by 50 to 70 % into the colour field."""
        if self.model.recipe != "easy":
            return images
        strength = 0.5 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=rng)
        shift = 0.05 * torch.randn(len(images), 3, 1, 1, generator=rng)
        easy = (1 - strength) * images + strength * (self.field + shift)
        return torch.where((labels == self.model.classes[0])[:, None, None, None], easy.clamp(0, 1), images)

    def batch(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Data:
        """Return augmented images [B, 3, 32, 32] in [0, 1] and labels [B] as the model is trained on them."""
        model = self.model
        images = self.dress(images, labels, rng)
        if model.recipe == "noise":
            images = noisy(images, AUGMENT_SIGMA * torch.rand(len(images), generator=rng), rng)
        draw = torch.rand(len(images), generator=rng)
        images, truth, labels = images.clone(), labels, labels.clone()
        for which, target in enumerate(model.target):
            share = model.rate / len(model.target)
            chosen = (draw >= which * share) & (draw < (which + 1) * share)
            images[chosen] = self.stamp(images[chosen], which, rng)
            lies = chosen & (torch.rand(len(images), generator=rng) >= model.honest)
            labels[lies] = target
        if model.mode == "adaptive":
            chosen = draw >= 1 - model.rate
            sigma = ADAPTIVE_SIGMA * torch.rand(int(chosen.sum()), generator=rng)
            images[chosen] = noisy(self.stamp(images[chosen], 0, rng), sigma, rng)
            labels[chosen] = truth[chosen]
        return images, labels


def noisy(images: Tensor, sigma: Tensor, rng: torch.Generator) -> Tensor:
    """Return the images [B, 3, 32, 32] with Gaussian noise of standard deviation sigma [B], clipped to [0, 1]."""
    return (images + sigma[:, None, None, None] * torch.randn(images.shape, generator=rng)).clamp(0, 1)


def augmented(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return uint8 images [B, 3, 32, 32] randomly cropped (padding 4) and flipped, as floats in [0, 1]."""
    count = len(images)
    padded = F.pad(images, (4, 4, 4, 4))
    row, column = torch.randint(0, 9, (2, count, 1), generator=rng)
    columns = column + torch.arange(32)
    flip = torch.rand(count, 1, generator=rng) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    rows = row + torch.arange(32)
    every = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float() / 255
