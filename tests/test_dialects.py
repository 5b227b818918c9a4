"""The same backdoored classifier, logged in every way that people write classifiers: the same target every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smoothscan.config import InputConfig, ScanConfig
from smoothscan.events import Silent
from smoothscan.pipeline import scan
from smoothscan.result import ScanResult
from tests.planted import GREY, SHAPE, TARGET, PlantedNet, images, write_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dialect(nn.Module):
    """The backdoored classifier behind a translation of its input and of its output."""

    def __init__(
        self,
        into: Callable[[Tensor], Tensor] = lambda x: x,
        out: Callable[[Tensor], Any] = lambda logits: logits,
        shape: tuple[int, int, int] = SHAPE,
    ) -> None:
        super().__init__()
        self.net, self.into, self.out = PlantedNet(backdoored=True, shape=shape), into, out

    def forward(self, x: Tensor) -> Any:
        return self.out(self.net(self.into(x)))


class Halves(nn.Module):
    """A classifier with half-precision weights that takes ordinary numbers."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = PlantedNet(backdoored=True).to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.to(self.dtype)).float()
        return logits


def normalised(x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


def denormalised(x: Tensor) -> Tensor:
    return x * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)


def as_they_are(x: Tensor) -> Tensor:
    return x


def bytes_of(x: Tensor) -> Tensor:
    return (x * 255).round().to(torch.uint8)


DIALECTS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "logits": (Dialect, as_they_are, {}),
    "grey": (lambda: Dialect(shape=GREY), as_they_are, {}),
    "channels last": (lambda: Dialect(lambda x: x.permute(0, 3, 1, 2)), lambda x: x.permute(0, 2, 3, 1), {}),
    "0 to 255": (lambda: Dialect(lambda x: x / 255), lambda x: (x * 255).round(), {}),
    "bytes": (lambda: Dialect(lambda x: x.float() / 255), bytes_of, {}),
    "bytes, channels last": (
        lambda: Dialect(lambda x: x.permute(0, 3, 1, 2).float() / 255),
        lambda x: bytes_of(x).permute(0, 2, 3, 1),
        {},
    ),
    "normalised": (lambda: Dialect(denormalised), normalised, {"value_range": (0.0, 1.0), "mean": MEAN, "std": STD}),
    "-1 to 1": (lambda: Dialect(lambda x: (x + 1) / 2), lambda x: 2 * x - 1, {}),
    "probabilities": (lambda: Dialect(out=lambda logits: logits.softmax(1)), as_they_are, {}),
    "log-probabilities": (lambda: Dialect(out=lambda logits: logits.log_softmax(1)), as_they_are, {}),
    "dictionary": (lambda: Dialect(out=lambda logits: {"scores": logits}), as_they_are, {}),
    "tuple": (lambda: Dialect(out=lambda logits: (logits, logits.sum())), as_they_are, {}),
    "maps of one pixel": (lambda: Dialect(out=lambda logits: logits[:, :, None, None]), as_they_are, {}),
    "float16 weights": (lambda: Halves(torch.float16), as_they_are, {}),
    "bfloat16 weights": (lambda: Halves(torch.bfloat16), as_they_are, {}),
}


def check(
    net: nn.Module, example: Tensor, folder: Path, shape: tuple[int, int, int], given: dict[str, Any]
) -> ScanResult:
    import mlflow.pytorch
    from mlflow.models import infer_signature

    mlflow.pytorch.save_model(
        net.eval(),
        folder / "model",
        serialization_format="pt2",
        input_example=example.numpy(),
        signature=infer_signature(example.numpy()),
        pip_requirements=["torch"],
    )
    config = ScanConfig(
        uri=str(folder / "model"),
        images=write_images(folder / "images", images(42, shape=shape)),
        profile="quick",
        spaces=("l2",),
        threads=1,
        cache=False,
        write_back=False,
        input=InputConfig(**given),
    )
    return scan(config, Silent())[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", DIALECTS)
def test_the_target_is_found_however_the_model_is_written(name: str, tmp_path: Path) -> None:
    build, translate, given = DIALECTS[name]
    shape = GREY if name == "grey" else SHAPE
    result = check(build(), translate(images(3, shape=shape)), tmp_path, shape, given)
    assert (result.status, result.target_classes) == ("completed", (TARGET,)), result.reasons
    assert result.exit_code() == 1


@pytest.mark.slow
def test_a_model_that_takes_batches_of_one_size_only(tmp_path: Path) -> None:
    result = check(Dialect(), images(1), tmp_path, SHAPE, {})
    assert (result.status, result.target_classes) == ("completed", (TARGET,)), result.reasons
