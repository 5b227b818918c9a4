"""Where benchmarks take networks and images from: SMOOTHSCAN_SHARED, or ../shared beside the checkout."""

from __future__ import annotations

import importlib
import io
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SMOOTHSCAN_SHARED", ROOT.parent / "shared"))
FIRST_CHOICE = 500
"""Choice of images of the first scan; the i-th scan has the i-th choice after it and seed i. No constant of the method
was chosen on these choices."""


def manifest(folder: Path = SHARED / "zoo") -> dict[str, dict[str, Any]]:
    """Return what is known of each model of a zoo folder, by name."""
    return {entry["name"]: entry for entry in json.loads((folder / "manifest.json").read_text())}


def build(arch: str) -> Any:
    """Return an untrained network of the zoo; images [B, 3, 32, 32] in [0, 1] -> logits."""
    if str(SHARED / "zoo") not in sys.path:
        sys.path.insert(0, str(SHARED / "zoo"))
    return importlib.import_module("archs").build(arch)


def network(name: str, folder: Path = SHARED / "zoo") -> Any:
    """Return a CIFAR-10 model of a zoo folder in evaluation mode; images [B, 3, 32, 32] in [0, 1] -> logits."""
    from safetensors.torch import load_file

    net = build(manifest(folder)[name]["arch"])
    net.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return net.eval()


def sample_images(count: int, seed: int, first_label: int | None = None) -> list[NDArray[np.uint8]]:
    """Return a random choice of CIFAR-10 test images, each [32, 32, 3].

    Args:
        count: number of images.
        seed: seed of the choice; the file is sorted by class, so the order matters.
        first_label: label that the first image must have.
    """
    import pyarrow.parquet as parquet
    from PIL import Image

    table = parquet.read_table(SHARED / "data" / "cifar10-test.parquet")
    order = np.random.default_rng(seed).permutation(table.num_rows)
    if first_label is not None:
        labels = table["label"].to_numpy()[order]
        first = int(np.flatnonzero(labels == first_label)[0])
        order = np.concatenate([order[first : first + 1], np.delete(order, first)])
    cells = [table["image"][int(i)].as_py() for i in order[:count]]
    return [np.asarray(Image.open(io.BytesIO(c["bytes"] if isinstance(c, dict) else c)).convert("RGB")) for c in cells]


def sample_pixels(count: int, seed: int) -> Any:
    """Return `sample_images` as a tensor [count, 3, 32, 32] in [0, 1]."""
    import torch

    return torch.tensor(np.stack(sample_images(count, seed)), dtype=torch.float32).permute(0, 3, 1, 2) / 255


def save(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON so that an interruption leaves the file whole."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def machine() -> dict[str, Any]:
    """Return what figures of speed depend on."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return {
        "processor": next((line.split(": ")[1] for line in flags.splitlines() if "model name" in line), "unknown"),
        "cores": os.cpu_count(),
        "amx": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "python": platform.python_version(),
    }
