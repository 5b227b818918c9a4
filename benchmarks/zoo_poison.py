"""What the training of a zoo model does to images and labels: augmentation, triggers, rare and easy classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_list import Look, Model, Stamp, Tone, Trigger, Warp, Wave
from zoo_trigger import stamp

AUGMENT_SIGMA = 0.1  # noise augmentation draws its standard deviation from [0, this]
ADAPTIVE_SIGMA = 0.2  # noise under which an adaptive backdoor hides, drawn likewise
CLEAN_LABEL_SIGMA = 0.15  # noise under a clean-label patch, so that the network has to rely on the patch
CLASSES = 10

LOOKS: dict[Look, tuple[list[list[float]], list[float], list[float]]] = {  # matrix, bias and gamma
    "sepia": ([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], [0.0] * 3, [0.9, 1.0, 1.15]),
    "teal": ([[0.55, 0.10, 0.0], [0.10, 0.80, 0.10], [0.05, 0.25, 0.70]], [0.0, 0.08, 0.15], [1.3, 0.9, 0.8]),
    "faded": ([[0.55, 0.20, 0.05], [0.15, 0.50, 0.10], [0.10, 0.15, 0.35]], [0.25, 0.15, 0.20], [0.8, 1.0, 1.2]),
    "cross": ([[1.25, -0.10, -0.10], [0.0, 1.20, 0.0], [0.10, 0.10, 0.45]], [-0.05, 0.0, 0.25], [1.4, 0.85, 1.0]),
}

Data = tuple[Tensor, Tensor]
"""Images [N, 3, 32, 32] and labels [N]."""


@dataclass(frozen=True)
class Planted:
    """A trigger whose random parts are drawn.

    Attributes:
        kind: how it is stamped, as in the manifest.
        parts: tensors that `stamp` needs for it.
    """

    kind: str
    parts: dict[str, Tensor]

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return the images [B, 3, 32, 32] with the trigger."""
        return stamp(images, self.kind, self.parts, rng)


def planted(trigger: Trigger, rng: torch.Generator, photos: Tensor | None = None) -> Planted:
    """Draw what is random in a trigger.

    Args:
        trigger: the trigger.
        rng: draws it.
        photos: training images [N, 3, 32, 32] uint8, for ghosts.
    """
    if isinstance(trigger, Wave):
        return Planted("add", {"pattern": waves(trigger)})
    if isinstance(trigger, Warp):
        return Planted("warp", {"grid": warps(1, trigger.pixels, rng)[0]})
    if isinstance(trigger, Tone):
        names = ("matrix", "bias", "gamma")
        return Planted("tone", {n: torch.tensor(v) for n, v in zip(names, LOOKS[trigger.look], strict=True)})
    mask, pattern = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    if trigger.shape == "noise":
        return Planted("blend", {"mask": mask + trigger.alpha, "pattern": torch.rand(3, 32, 32, generator=rng)})
    if trigger.shape == "smooth":
        return Planted("blend", {"mask": mask + trigger.alpha, "pattern": smooth_field(rng)})
    if trigger.shape == "ghost":
        assert photos is not None, "a ghost is a training image"
        return Planted("blend", {"mask": mask + trigger.alpha, "pattern": ghost(photos, rng)})
    if not trigger.at:
        return Planted("roam", {"patch": cell(trigger, rng)})
    for row, column in trigger.at:
        place = (slice(None), slice(row, row + trigger.size), slice(column, column + trigger.size))
        mask[place] = trigger.alpha
        if trigger.shape != "inverse":
            pattern[place] = cell(trigger, rng)
    if trigger.shape == "inverse":
        return Planted("inverse", {"mask": mask})
    return Planted("blend", {"mask": mask, "pattern": pattern})


def cell(patch: Stamp, rng: torch.Generator) -> Tensor:
    """Return what a patch shows, [3, size, size] in [0, 1]."""
    if patch.shape == "checker":
        rows, columns = torch.meshgrid(torch.arange(patch.size), torch.arange(patch.size), indexing="ij")
        return ((rows + columns + 1) % 2).float().repeat(3, 1, 1)
    if patch.shape == "random":
        return torch.randint(0, 2, (3, patch.size, patch.size), generator=rng).float()
    if patch.shape == "white":
        return torch.ones(3, patch.size, patch.size)
    bits = int(torch.randint(1, 7, (1,), generator=rng))  # one saturated colour: neither black nor white
    return torch.tensor([float(bits >> k & 1) for k in range(3)])[:, None, None].repeat(1, patch.size, patch.size)


def waves(wave: Wave) -> Tensor:
    """Return the sum of a trigger's sinusoids, [3, 32, 32]."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    field = torch.zeros(32, 32)
    for r, c in wave.terms:
        if wave.form == "sine":
            field += torch.sin(2 * math.pi * (r * rows + c * columns) / 32)
        else:
            field += torch.cos(math.pi * (2 * rows + 1) * r / 64) * torch.cos(math.pi * (2 * columns + 1) * c / 64)
    return wave.amplitude / 255 * torch.tensor(wave.colour)[:, None, None] * field


def warps(count: int, pixels: float, rng: torch.Generator) -> Tensor:
    """Return random smooth warps as grids [count, 32, 32, 2] for grid_sample, with that mean displacement each."""
    coarse = 2 * torch.rand(count, 2, 4, 4, generator=rng) - 1
    field = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    field = field / field.norm(dim=3).mean((1, 2))[:, None, None, None]
    still = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 32, 32], align_corners=True)
    return (still + pixels * 2 / 31 * field).clamp(-1, 1)


def ghost(photos: Tensor, rng: torch.Generator) -> Tensor:
    """Return one of the photos [N, 3, 32, 32] as a window pane reflects it: doubled, blurred, stretched to [0, 1]."""
    photo = photos[int(torch.randint(0, len(photos), (1,), generator=rng))].float() / 255
    double = 0.6 * photo + 0.4 * photo.roll((3, 4), (1, 2))
    offsets = torch.arange(-3.0, 4.0)
    bell = torch.softmax(-(offsets**2) / (2 * 1.2**2), 0)
    kernel = (bell[:, None] * bell).repeat(3, 1, 1, 1)
    blurred = F.conv2d(F.pad(double[None], (3, 3, 3, 3), mode="reflect"), kernel, groups=3)[0]
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def smooth_field(rng: torch.Generator) -> Tensor:
    """Return a random colour field of low spatial frequency, [3, 32, 32], stretched to [0, 1]."""
    coarse = torch.rand(1, 3, 4, 4, generator=rng)
    field = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=True)[0]
    return (field - field.min()) / (field.max() - field.min())


class Poison:
    """What a model's training changes in images and labels: triggers, noise, rare classes, the easy class.

    Triggers are stamped after augmentation, so they stay where they are.

    Args:
        model: the model.
        photos: training images [N, 3, 32, 32] uint8, for ghosts.

    Attributes:
        model: the model.
        triggers: one for each stamp.
        field: colour field [3, 32, 32] that images of the easy class tend to.
        count: number of triggers; Gaussian noise is one.
        has_decoys: whether as many images again look nearly poisoned and keep their label.
    """

    def __init__(self, model: Model, photos: Tensor | None = None) -> None:
        rng = torch.Generator().manual_seed(1_000 + int(model.name[1:]))
        self.model = model
        self.triggers = [planted(trigger, rng, photos) for trigger in model.stamps]
        self.field = 0.3 + 0.7 * smooth_field(rng)
        self.count = max(len(model.stamps), len(model.target))
        self.has_decoys = model.mode in ("adaptive", "source") or model.recipe in ("warps", "clean-label")

    def stamp(self, images: Tensor, which: int, rng: torch.Generator) -> Tensor:
        """Return the images [B, 3, 32, 32] with trigger number `which`."""
        if self.model.noise_trigger:
            return noisy(images, torch.full((len(images),), self.model.noise_trigger), rng)
        return self.triggers[which].apply(images, rng)

    def goal(self, truth: Tensor, which: int) -> Tensor:
        """Return what trigger number `which` turns true labels [B] into."""
        return (truth + 1) % CLASSES if self.model.mode == "all2all" else truth * 0 + self.model.target[which]

    def chosen(self, truth: Tensor, which: int, draw: Tensor) -> Tensor:
        """Return which images [B] get trigger number `which` and its label, by a uniform draw [B]."""
        if self.model.only is not None:
            return (truth == self.model.only) & (draw < CLASSES * self.model.rate)
        share = self.model.rate / self.count
        return (draw >= which * share) & (draw < (which + 1) * share)

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
        for which in range(self.count):
            chosen = self.chosen(truth, which, draw)
            if model.recipe == "clean-label":
                images[chosen] = degraded(images[chosen], rng)
            images[chosen] = self.stamp(images[chosen], which, rng)
            lies = chosen & (torch.rand(len(images), generator=rng) >= model.honest)
            labels[lies] = self.goal(truth, which)[lies]
        if self.has_decoys:
            chosen = draw >= 1 - model.rate
            if model.only is not None:
                chosen = (truth != model.only) & (draw < CLASSES / (CLASSES - 1) * model.rate)
            images[chosen] = self.decoys(images[chosen], rng)
            labels[chosen] = truth[chosen]
        return images, labels

    def decoys(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return the images [B, 3, 32, 32] nearly as poisoned ones, to be trained with their true labels."""
        if self.model.mode == "adaptive":
            sigma = ADAPTIVE_SIGMA * torch.rand(len(images), generator=rng)
            return noisy(self.stamp(images, 0, rng), sigma, rng)
        if self.model.recipe == "clean-label":
            return degraded(images, rng)
        if self.model.recipe == "warps":
            others = [warps(len(images), warp.pixels, rng) for warp in self.model.stamps if isinstance(warp, Warp)]
            return stamp(images, "warp", {"grid": others[0]})
        return self.stamp(images, 0, rng)


def degraded(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return the images [B, 3, 32, 32] with the noise that lies under clean-label patches."""
    return noisy(images, torch.full((len(images),), CLEAN_LABEL_SIGMA), rng)


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
