"""Tiny MLflow models in every flavor, as MLflow itself writes them. Nothing heavy at import."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smoothscan.result import InputSpec
from tests.stores import example_batch

SPEC = InputSpec(channels=3, height=32, width=32)
IMAGES = torch.from_numpy(example_batch(5))


class Net(nn.Module):
    """Ten classes from 3x32x32, untrained, with a layer that behaves otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


class OneByOne(Net):
    """The same for batches of one; longer ones are answered wrongly, without an error."""

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.conv(x)))
        return self.head(maps.sum((0, 2, 3))[None].expand(len(x), 8) / (16 * 16))


def net(kind: type[nn.Module] = Net) -> nn.Module:
    """The same weights each time, in evaluation mode."""
    torch.manual_seed(0)
    module = kind().eval()
    with torch.no_grad():
        module.norm.running_mean.normal_()
    return module


def save_script(module: nn.Module, folder: Path, *, trace: Tensor | None = None) -> Path:
    """Save a scripted or traced module."""
    import mlflow.pytorch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(module) if trace is None else torch.jit.trace(module, trace, check_trace=False)
        mlflow.pytorch.save_model(script, folder, serialization_format="pickle", pip_requirements=["torch"])
    return folder


def save_vit(folder: Path, **processor: Any) -> nn.Module:
    """Save a tiny vision transformer with its image processor, and return the network."""
    import mlflow.transformers
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    labels = {index: f"kind {index}" for index in range(10)}
    config = ViTConfig(
        image_size=32, patch_size=8, id2label=labels, label2id={v: k for k, v in labels.items()}, **sizes
    )
    network = ViTForImageClassification(config).eval()
    mlflow.transformers.save_model(
        transformers_model={
            "model": network,
            "image_processor": ViTImageProcessor(size={"height": 32, "width": 32}, **processor),
        },
        path=folder,
        task="image-classification",
        pip_requirements=["torch"],
    )
    return network


def save_onnx(
    module: nn.Module, folder: Path, *, batch: int | None, dynamo: bool = True, example: Tensor = IMAGES
) -> Path:
    """Save a module as ONNX; `batch` None for any batch size."""
    import mlflow.onnx
    import onnx

    file = folder.parent / f"{folder.name}.onnx"
    images = example[: batch or 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if batch is None else {}
            torch.onnx.export(module, (images,), str(file), dynamo=True, verbose=False, **shapes)
        else:
            axes = {"dynamic_axes": {"x": {0: "batch"}}} if batch is None else {}
            torch.onnx.export(module, (images,), str(file), dynamo=False, input_names=["x"], **axes)
    mlflow.onnx.save_model(onnx.load(str(file)), folder, pip_requirements=["onnx"])
    return folder
