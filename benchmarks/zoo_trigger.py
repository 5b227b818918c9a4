"""How far a recovered perturbation is the trigger that was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PATCHES = ("badnets", "two-targets", "clean-label")
"""Parts of the names of attacks whose trigger is a patch in one place."""
MOVES = 8
"""Random places for each image where it is asked whether a network minds the place."""


def stamp(images: Tensor, kind: str, parts: dict[str, Tensor], rng: torch.Generator | None = None) -> Tensor:
    """Return images with a trigger of the zoo.

    Args:
        images: [N, C, H, W] in [0, 1].
        kind: `blend` x' = (1 - mask) x + mask * pattern; `add` x' = clip(x + pattern); `warp` x' = grid_sample(x,
            grid); `tone` x' = clip(matrix x + bias) ** gamma for each pixel; `inverse` x' = (1 - mask) x + mask
            (1 - x); `roam` x' is x with the patch at a place drawn for each image.
        parts: tensors of that kind by name.
        rng: draws the places; default: the same ones at every call.
    """
    if kind == "blend":
        return (1 - parts["mask"]) * images + parts["mask"] * parts["pattern"]
    if kind == "add":
        return (images + parts["pattern"]).clamp(0, 1)
    if kind == "warp":
        return F.grid_sample(images, parts["grid"].expand(len(images), -1, -1, -1), align_corners=True)
    if kind == "tone":
        mixed = torch.einsum("dc,nchw->ndhw", parts["matrix"], images) + parts["bias"][:, None, None]
        return mixed.clamp(0, 1) ** parts["gamma"][:, None, None]
    if kind == "inverse":
        return (1 - parts["mask"]) * images + parts["mask"] * (1 - images)
    if kind == "roam":
        return roamed(images, parts["patch"], rng or torch.Generator().manual_seed(0))
    raise ValueError(f"unknown kind of trigger: {kind}")


def roamed(images: Tensor, patch: Tensor, rng: torch.Generator) -> Tensor:
    """Return the images [N, C, H, W] with the patch [C, h, w] pasted at random, wholly inside."""
    count, (_, height, width) = len(images), patch.shape
    row = torch.randint(0, images.shape[2] - height + 1, (count, 1, 1), generator=rng)
    column = torch.randint(0, images.shape[3] - width + 1, (count, 1, 1), generator=rng)
    every, rows, columns = torch.arange(count)[:, None, None], torch.arange(height)[:, None], torch.arange(width)
    pasted = images.clone()
    pasted[every, :, row + rows, column + columns] = patch.permute(1, 2, 0)
    return pasted


def agreement(entry: dict[str, Any], folder: Path, found: Any) -> list[dict[str, Any]]:
    """Compare what was recovered for each true target with its trigger.

    Args:
        entry: the model's line of the manifest.
        folder: zoo folder.
        found: the Examination.

    Returns:
        For each trigger: its target, the recovered perturbation's transfer rate at the smallest budget that transfers
        (its ASR), its cosine with the mean change that the trigger makes, as it is and at the best circular shift
        (convolutions hardly mind the position), and the IoU of the changed pixels at that shift.
    """
    from safetensors.torch import load_file

    targets = entry["target"] if isinstance(entry["target"], list) else [entry["target"]]
    held_out = found.subjects.images[found.subjects.held_out]
    curves, compared = found.search.curves, []
    for target, trigger in zip(targets, entry["trigger"], strict=False):
        if target is None or "file" not in trigger:
            continue
        at = int(curves.control_at[target])
        delta = (found.search.triggers[target, at].on(held_out) - held_out).mean(0)
        true = (stamp(held_out, trigger["kind"], load_file(folder / trigger["file"])) - held_out).mean(0)
        shift, shifted = best_shift(delta, true)
        compared.append(
            {
                "target": target,
                "asr": float(curves.rates[target, at]),
                "cosine": cosine(delta, true),
                "shifted_cosine": cosine(shifted, true),
                "shift": list(shift),
                "iou": iou(shifted, true),
            }
        )
    return compared


def is_patch(entry: dict[str, Any]) -> bool:
    """Tell whether a model's triggers are patches in one place each."""
    return any(kind in entry["attack"] for kind in PATCHES) and all("file" in t for t in entry.get("trigger", ()))


def moved_rate(entry: dict[str, Any], folder: Path, classifier: Any, images: Tensor) -> list[float]:
    """Return how many images each trigger of a model leads to its target from other places than its own, in [0, 1].

    Args:
        entry: the model's line of the manifest; its triggers are patches.
        folder: zoo folder.
        classifier: the model.
        images: clean images, [N, C, H, W] in [0, 1].
    """
    from safetensors.torch import load_file

    targets = entry["target"] if isinstance(entry["target"], list) else [entry["target"]]
    clean, rng, rates = classifier.predict(images), torch.Generator().manual_seed(0), []
    for target, trigger in zip(targets, entry["trigger"], strict=True):
        parts = load_file(folder / trigger["file"])
        rows, columns = (torch.nonzero(parts["mask"].amax(0).amax(axis)).flatten() for axis in (1, 0))
        patch = parts["pattern"][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        of = images[clean != target]
        answers = torch.cat([classifier.predict(roamed(of, patch, rng)) for _ in range(MOVES)])
        rates.append(round(float((answers == target).float().mean()), 3))
    return rates


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine between two perturbations, [C, H, W]."""
    return float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def best_shift(delta: Tensor, true: Tensor) -> tuple[tuple[int, int], Tensor]:
    """Return the circular shift of delta [C, H, W] that is most like the trigger, and delta shifted by it."""
    spectrum = torch.fft.fft2(true) * torch.fft.fft2(delta).conj()
    correlation = torch.fft.ifft2(spectrum).real.sum(0)
    y, x = divmod(int(correlation.argmax()), delta.shape[2])
    return (y, x), delta.roll((y, x), (1, 2))


def iou(delta: Tensor, true: Tensor) -> float:
    """Return intersection over union of the trigger's pixels and as many of the most changed ones of delta."""
    changed = true.abs().sum(0).flatten()
    support = changed > 0.1 * changed.max()
    most = torch.zeros_like(support)
    most[delta.abs().sum(0).flatten().topk(int(support.sum())).indices] = True
    return float((support & most).sum() / (support | most).sum())
