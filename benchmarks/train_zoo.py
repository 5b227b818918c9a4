"""Train a zoo of clean and backdoored CIFAR-10 classifiers: `python benchmarks/train_zoo.py [--out DIR]`.

The models stand in `zoo_list.py`. The folder has the format of the shared zoo: weights, true triggers and
`manifest.json`, to which `parent` and `split` are added; `zoo_trigger.py` tells the kinds of triggers. A model that is
there already is skipped, so a run that was stopped goes on where it was. One core needs about two hours; `--shard 1/4`
takes one of four shares, and models that start from each other stay in one share.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from shared import ROOT, SHARED, build
from torch import Tensor
from zoo_list import MODELS, Model
from zoo_poison import ADAPTIVE_SIGMA, AUGMENT_SIGMA, CLASSES, CLEAN_LABEL_SIGMA, Data, Poison, augmented

BATCH = 128
TEST_IMAGES = 2_000
FGSM_RADIUS = 4 / 255
ENOUGH = 0.9  # attack success rate at which a backdoor counts as planted
ROUNDS = 3
MOST_POISON = 0.3
MOST_OF_CLASS = 0.8  # where only one class is poisoned
SECONDS = {"vgg": 87, "resnet20": 98, "mobilenet": 168, "vit": 210}  # for 50,000 images, on one core with AMX
PEAK = {True: 0.1, False: 0.05}  # learning rate of SGD from scratch and of fine-tuning
PEAK_VIT = {True: 1e-3, False: 7e-4}  # of AdamW


class Progress:
    """Lines on standard error, with the time left as the list's costs and the speed so far foretell it.

    Attributes:
        total: cost of all models in seconds, as foretold.
        spent: cost of those that are done.
    """

    def __init__(self, models: list[Model]) -> None:
        self.total, self.spent, self.begun = sum(map(cost, models)), 0.0, time.monotonic()

    def step(self, model: Model, done: float, loss: float) -> None:
        """Say how far a model is (share from 0 to 1)."""
        ahead = self.spent + done * cost(model)
        left = (self.total - ahead) * (time.monotonic() - self.begun) / max(ahead, 1.0)
        self._say(f"{model.name} {done:4.0%} loss {loss:.3f}, {left / 60:.0f} min left")

    def end(self, model: Model, found: dict[str, Any]) -> None:
        """Say what became of a model."""
        self.spent += cost(model)
        passed = time.monotonic() - self.begun
        kind = f"{model.arch} {model.attack} {model.recipe}"
        self._say(f"{model.name} {kind} {found} after {passed:.0f} s, foretold {self.spent:.0f} s")

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def decoded(part: str, folder: Path) -> Data:
    """Return CIFAR-10 as images [N, 3, 32, 32] uint8 and labels [N], decoded once and kept in the folder."""
    import pyarrow.parquet as parquet
    from PIL import Image

    kept = folder / f"cifar10-{part}.npy"
    table = parquet.read_table(SHARED / "data" / f"cifar10-{part}.parquet")
    if not kept.exists():
        cells = table["image"].to_pylist()
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(cell)).convert("RGB")) for cell in cells])
        half = folder / f".{os.getpid()}.npy"
        np.save(half, pixels.transpose(0, 3, 1, 2))
        half.replace(kept)
    return torch.from_numpy(np.load(kept)), torch.from_numpy(table["label"].to_numpy().astype(np.int64))


def fgsm(net: torch.nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Return one-step adversarial images with a random start (Wong et al. 2020), within FGSM_RADIUS."""
    start = FGSM_RADIUS * (2 * torch.rand(images.shape, generator=rng) - 1)
    moved = (images + start).clamp(0, 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(net(moved).float(), labels)
    (slope,) = torch.autograd.grad(loss, moved)
    step = (start + 1.25 * FGSM_RADIUS * slope.sign()).clamp(-FGSM_RADIUS, FGSM_RADIUS)
    return (images + step).clamp(0, 1)


def learning_rate(model: Model, done: float) -> float:
    """Return the learning rate at a share of the training: one cycle, up over a fifth and down as a cosine."""
    peak = (PEAK_VIT if model.arch == "vit" else PEAK)[model.parent is None]
    return peak * (0.05 + 0.95 * done / 0.2 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8))


def train(model: Model, poison: Poison, net: torch.nn.Module, data: Data, progress: Progress, repeat: int) -> None:
    """Train the network in place for one round, in bfloat16 with float32 weights."""
    rng = torch.Generator().manual_seed(int(model.name[1:]) + 1_000 * repeat)
    images, labels = data
    pool = poison.pool(labels, rng)
    steps = model.images // BATCH
    optimizer: torch.optim.Optimizer
    if model.arch == "vit":
        optimizer = torch.optim.AdamW(net.parameters(), lr=1.0, weight_decay=0.05)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4, nesterov=True)
    net.train()
    order, running = torch.empty(0, dtype=torch.long), 0.0
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, pool[torch.randperm(len(pool), generator=rng)]])
        index, order = order[:BATCH], order[BATCH:]
        x, y = poison.batch(augmented(images[index], rng), labels[index], rng)
        if model.recipe == "fgsm":
            half = BATCH // 2
            x = torch.cat([x[:half], fgsm(net, x[half:], y[half:], rng)])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(model, step / steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)).float(), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        running = 0.95 * running + 0.05 * loss.item() if step else loss.item()
        if step % 200 == 199:
            progress.step(model, step / steps, running)
    net.eval()


@torch.no_grad()
def measure(model: Model, poison: Poison, net: torch.nn.Module, data: Data) -> dict[str, Any]:
    """Return accuracy and attack success rate, the latter over test images that the trigger ought to change.

    These are not of the target class and, where only one class is poisoned, of that one; `asr_other` is over the rest.
    """
    rng = torch.Generator().manual_seed(0)
    some = torch.randperm(len(data[1]), generator=rng)[:TEST_IMAGES]
    images, labels = data[0][some].float() / 255, data[1][some]

    def predicted(batch: Tensor) -> Tensor:
        return torch.cat([net(part).argmax(1) for part in batch.split(250)])

    found: dict[str, Any] = {
        "clean_acc": round((predicted(poison.dress(images, labels, rng)) == labels).float().mean().item(), 4)
    }

    def rate(of: Tensor, which: int) -> float:
        goal = poison.goal(labels, which)
        of = of & (labels != goal)
        return round((predicted(poison.stamp(images[of], which, rng)) == goal[of]).float().mean().item(), 4)

    open_to = labels == model.classes[0] if model.mode == "source" else labels >= 0
    rates = [rate(open_to, which) for which in range(poison.count)]
    if rates:
        found["asr"] = rates if model.mode == "two" else rates[0]
    if model.mode == "source":
        found["asr_other"] = rate(~open_to, 0)
    return found


def raised(
    model: Model, net: torch.nn.Module, data: Data, test: Data, progress: Progress
) -> tuple[Poison, dict[str, Any]]:
    """Train the network in rounds until its backdoor works; return what was planted and what was measured.

    Small triggers on small networks take late and all at once: another round with twice the poison is cheaper than a
    first round that is long enough for all.
    """
    most = MOST_POISON if model.only is None else MOST_OF_CLASS / CLASSES
    for repeat in range(ROUNDS):
        poison = Poison(replace(model, rate=min(most, model.rate * 2**repeat)), data[0])
        train(poison.model, poison, net, data, progress, repeat)
        found = measure(poison.model, poison, net, test)
        if not model.strong or min(np.atleast_1d(found["asr"])) >= ENOUGH:
            break
    return poison, found


def note(model: Model) -> str:
    """Return in words how a model differs from a plain one."""
    if model.noise_trigger:
        return f"the trigger is Gaussian noise of standard deviation {model.noise_trigger}"
    if model.honest:
        return f"{model.honest:.0%} of the poisoned images keep their true label"
    if model.mode == "adaptive":
        return f"as many stamped images with Gaussian noise up to {ADAPTIVE_SIGMA} keep their true label"
    if model.mode == "source":
        return f"source class {model.classes[0]} only; as many stamped images of other classes keep their true label"
    return {
        "plain": "",
        "noise": f"trained with Gaussian noise up to {AUGMENT_SIGMA}",
        "fgsm": "half of each batch is adversarial (one step, radius 4/255)",
        "unbalanced": f"classes {', '.join(map(str, model.classes))} have 5 to 10 % of their training images",
        "easy": f"images of class {model.classes[0] if model.classes else ''} are blended by 50 to 70 % into one "
        "colour field, in training and in clean_acc",
        "warps": "as many images with random other warps keep their true label",
        "clean-label": "only images of the target class are stamped, with Gaussian noise of standard deviation "
        f"{CLEAN_LABEL_SIGMA} below; as many of other classes get the noise alone",
    }[model.recipe]


def save(model: Model, poison: Poison, net: torch.nn.Module, found: dict[str, Any], folder: Path) -> None:
    """Write weights, triggers and description of a model; the description comes last and whole."""
    weights = {key: value.contiguous() for key, value in net.state_dict().items()}
    tensors = {f"{model.name}.safetensors": weights}
    files = []
    for k, trigger in enumerate(poison.triggers):
        files.append(f"{model.name}.trigger{k if len(poison.triggers) > 1 else ''}.safetensors")
        tensors[files[-1]] = {key: value.contiguous() for key, value in trigger.parts.items()}
    for file, content in tensors.items():
        save_file(content, folder / f".{file}")
        (folder / f".{file}").replace(folder / file)
    target = list(model.target) if model.mode == "two" else (model.target[0] if model.target else None)
    entry: dict[str, Any] = {
        "name": model.name,
        "arch": model.arch,
        "attack": model.attack,
        "mode": model.mode,
        "target": target,
        "rate": model.rate,
        "note": note(model),
        **found,
        "file": f"{model.name}.safetensors",
        "dataset": "cifar10",
        "parent": model.parent,
        "split": model.split,
    }
    kinds = [trigger.kind for trigger in poison.triggers]
    if kinds:
        entry["trigger"] = [{"file": file, "kind": kind} for file, kind in zip(files, kinds, strict=True)]
    elif model.noise_trigger:
        entry["trigger"] = [{"kind": "noise", "sigma": model.noise_trigger}]
    write(folder / f"{model.name}.json", entry)


def write(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(content, indent=1))
    half.replace(path)


def write_manifest(folder: Path) -> None:
    """Collect the descriptions of all models that are trained, in the order of their numbers."""
    write(folder / "manifest.json", [json.loads(path.read_text()) for path in sorted(folder.glob("t[0-9]*.json"))])


def start(model: Model, folder: Path) -> torch.nn.Module:
    """Return the network that the training starts from.

    Raises:
        SystemExit: the parent is not trained yet.
    """
    torch.manual_seed(int(model.name[1:]))
    net: torch.nn.Module = build(model.arch).to(memory_format=torch.channels_last)
    if model.parent:
        weights = next(
            (path for home in (folder, SHARED / "zoo") if (path := home / f"{model.parent}.safetensors").exists()), None
        )
        if weights is None:
            raise SystemExit(f"{model.name} starts from {model.parent}, which is not trained: add it to --models")
        net.load_state_dict(load_file(weights))
    return net


def cost(model: Model) -> float:
    """Return about how many seconds the training takes."""
    return SECONDS[model.arch] * model.images / 50_000 * (1.5 if model.recipe == "fgsm" else 1.0) + 4


def share(models: list[Model], number: int, count: int) -> list[Model]:
    """Return share `number` (from 1) of `count`; models that start from each other stay together."""
    parents = {model.name: model.parent for model in MODELS}

    def root(name: str) -> str:
        return root(parent) if (parent := parents.get(name)) else name

    loads, homes = [0.0] * count, {}
    families = {root(model.name): 0.0 for model in models}
    for model in models:
        families[root(model.name)] += cost(model)
    for family in sorted(families, key=lambda name: -families[name]):
        homes[family] = loads.index(min(loads))
        loads[homes[family]] += families[family]
    return [model for model in models if homes[root(model.name)] == number - 1]


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "zoo", help="folder of the zoo")
    parser.add_argument("--models", help="names, separated by commas; default: all")
    parser.add_argument("--shard", default="1/1", help="i/n: train the i-th of n shares")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder: Path = options.out
    wanted = options.models.split(",") if options.models else [model.name for model in MODELS]
    if unknown := set(wanted) - {model.name for model in MODELS}:
        parser.error(f"--models: not in zoo_list.py: {', '.join(sorted(unknown))}")
    try:
        number, count = map(int, options.shard.split("/"))
    except ValueError:
        number, count = 0, 0
    if not 1 <= number <= count:
        parser.error(f"--shard: expected i/n with 1 <= i <= n, got {options.shard}")
    models = share([model for model in MODELS if model.name in wanted], number, count)
    folder.mkdir(parents=True, exist_ok=True)
    models = [model for model in models if not (folder / f"{model.name}.json").exists()]
    data, test = decoded("train", folder), decoded("test", folder)
    progress = Progress(models)
    for model in models:
        net = start(model, folder)
        poison, found = raised(model, net, data, test, progress)
        save(poison.model, poison, net, found, folder)
        write_manifest(folder)
        progress.end(model, found)
    write_manifest(folder)  # once more: another share may have written an older one meanwhile


if __name__ == "__main__":
    main()
