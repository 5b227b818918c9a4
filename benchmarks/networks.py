"""Real architectures of torchvision, timm and transformers at 224x224, trained on next to nothing, in every format.

Needs torchvision, timm, transformers and the ONNX libraries; see `make architectures`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

CLASSES = 10
SIZE = 224
FORMATS = ("pt2", "pt2-1", "pickle", "torchscript", "safetensors", "transformers", "onnx", "onnx-1")
"""`-1`: exported for batches of one image."""


def images(count: int) -> Tensor:
    """Stripes of ten hues and directions, no two alike, [count, 3, 224, 224] in [0, 1], quantised like image files."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    pictures = []
    for i in range(count):
        kind = i % CLASSES
        angle, hue = torch.tensor(kind * torch.pi / CLASSES), kind / CLASSES
        phase, pace, light = torch.rand(3, generator=generator)
        waves = torch.sin((12 + 6 * pace) * (x * angle.cos() + y * angle.sin()) + 6.28 * phase)
        colour = 0.5 + 0.4 * torch.cos(6.28 * (hue + torch.tensor([0.0, 1 / 3, 2 / 3])))
        pictures.append(colour[:, None, None] * (0.6 + 0.3 * waves) + 0.1 * light)
    return (torch.stack(pictures).clamp(0, 1) * 255).round() / 255


def torchvision_net(name: str) -> nn.Module:
    """An untrained network of torchvision."""
    from torchvision import models

    network: nn.Module = models.get_model(name, weights=None, num_classes=CLASSES)
    return network


def timm_net(name: str) -> nn.Module:
    """An untrained network of timm."""
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    return network


def transformers_net(name: str) -> nn.Module:
    """An untrained vision transformer of transformers, as large as DeiT-tiny but half as deep."""
    from transformers import ViTConfig, ViTForImageClassification

    names = {kind: f"stripes {kind}" for kind in range(CLASSES)}
    config = ViTConfig(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=3,
        intermediate_size=768,
        id2label=names,
        label2id={label: kind for kind, label in names.items()},
    )
    network: nn.Module = ViTForImageClassification(config)
    return network


NETWORKS: dict[str, tuple[Callable[[str], nn.Module], str]] = {
    "torchvision/resnet18": (torchvision_net, "resnet18"),
    "torchvision/mobilenet_v3_small": (torchvision_net, "mobilenet_v3_small"),
    "timm/vit_tiny_patch16_224": (timm_net, "vit_tiny_patch16_224"),
    "timm/convnext_atto": (timm_net, "convnext_atto"),
    "transformers/vit": (transformers_net, "vit"),
}
"""By name: what builds it, and the name by which that library knows it."""


def network(name: str) -> nn.Module:
    """Build a network, normalise its activations and fit its last layer, so that it tells the ten kinds of stripes."""
    build, short = NETWORKS[name]
    torch.manual_seed(0)
    net = build(short)
    pixels = images(3 * CLASSES)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # averages over what it has seen, which is the next line alone
    net.train()
    with torch.no_grad():
        net(pixels)
    net.eval()
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: features.append(given[0].detach()))
    with torch.no_grad():
        net(pixels)
    hook.remove()
    mean, std = features[0].mean(0), features[0].std(0) + 1e-6 * features[0].abs().max()
    x = torch.cat([(features[0] - mean) / std, torch.ones(len(pixels), 1)], 1)
    wanted = 10.0 * nn.functional.one_hot(torch.arange(len(pixels)) % CLASSES, CLASSES)
    solution = torch.linalg.solve(x.T @ x + 0.1 * len(mean) * torch.eye(x.shape[1]), x.T @ wanted)
    with torch.no_grad():
        head.weight.copy_(solution[:-1].T / std)
        head.bias.copy_(solution[-1] - solution[:-1].T @ (mean / std))
    return net.requires_grad_(False)


class Logits(nn.Module):
    """A transformers network that answers a bare tensor, which ONNX and TorchScript need."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, K] of images [B, 3, H, W]."""
        logits: Tensor = self.net(pixel_values=x, return_dict=False)[0]
        return logits


def applies(name: str, kind: str) -> bool:
    """Return whether there is such a format of a network."""
    if kind == "safetensors":  # an architecture is named with the library that knows it
        return not name.startswith("transformers/")
    return kind != "transformers" or name.startswith("transformers/")


def save(name: str, net: nn.Module, kind: str, folder: Path) -> Path:
    """Save a network as an MLflow model of one format, and return its folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _save(name, net, kind, folder)
    return folder


def _save(name: str, net: nn.Module, kind: str, folder: Path) -> None:
    import mlflow.pytorch

    plain = Logits(net) if name.startswith("transformers/") else net
    example = images(1 if kind.endswith("-1") else 2)
    keep: dict[str, Any] = {"input_example": example.numpy(), "pip_requirements": ["torch"]}
    match kind:
        case "pt2" | "pt2-1":
            mlflow.pytorch.save_model(plain, folder, serialization_format="pt2", **keep)
        case "pickle":
            mlflow.pytorch.save_model(net, folder, serialization_format="pickle", pip_requirements=["torch"])
        case "torchscript":
            mlflow.pytorch.save_model(script(plain), folder, serialization_format="pickle", **keep)
        case "safetensors":
            _save_weights(name, net, folder)
        case "transformers":
            _save_pipeline(net, folder)
        case "onnx" | "onnx-1":
            _save_onnx(plain, example, folder, fixed=kind == "onnx-1")
        case _:
            raise ValueError(f"no such format: {kind}")


def script(net: nn.Module) -> Any:
    """Script a network, or trace it where its code cannot be scripted."""
    try:
        return torch.jit.script(net)
    except Exception:  # whatever the compiler raises
        return torch.jit.trace(net, images(1), check_trace=False)


def _save_weights(name: str, net: nn.Module, folder: Path) -> None:
    """MLflow has no flavor for bare weights: people log them as the artifact of something else."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, folder / "model.safetensors")
    (folder / "MLmodel").write_text(f"flavors: {{}}\nmetadata: {{architecture: {name}}}\n")
    if name.startswith("timm/"):
        values = {"input_size": [3, SIZE, SIZE], "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
        config = {"architecture": name.removeprefix("timm/"), "num_classes": CLASSES, "pretrained_cfg": values}
        (folder / "config.json").write_text(json.dumps(config))


def _save_pipeline(net: nn.Module, folder: Path) -> None:
    import mlflow.transformers
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(image_mean=[0.0, 0.0, 0.0], image_std=[1.0, 1.0, 1.0])
    parts = {"model": net, "image_processor": processor}
    mlflow.transformers.save_model(parts, folder, task="image-classification", pip_requirements=["torch"])


def _save_onnx(net: nn.Module, example: Tensor, folder: Path, *, fixed: bool) -> None:
    import mlflow.onnx
    import onnx

    file = folder.parent / "exported.onnx"
    shapes = None if fixed else ({0: torch.export.Dim("batch")},)
    torch.onnx.export(net, (example,), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)
    signature = mlflow.models.infer_signature(example.numpy(), net(example).numpy())
    mlflow.onnx.save_model(
        onnx.load(str(file)),
        folder,
        signature=signature,
        input_example=example.numpy(),
        pip_requirements=["onnx"],
    )
