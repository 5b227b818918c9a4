"""The same backdoor is found however the classifier was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smoothscan.config import InputConfig, ScanConfig
from smoothscan.events import Silent
from smoothscan.pipeline import scan
from smoothscan.sandbox.protections import protections
from tests.modelhost.flavors import save_onnx, save_script
from tests.planted import SHAPE, TARGET, PlantedNet, images, write_images

INPUT = InputConfig(height=SHAPE[1], width=SHAPE[2], channels=3, value_range=(0.0, 1.0))


def save_function(folder: Path) -> Path:
    """A Python function that builds the planted classifier from plain layers, which a host can import."""
    import mlflow.pyfunc

    net = PlantedNet(backdoored=True)
    values = {name: value.detach().numpy() for name, value in net.named_parameters()}
    np.savez(folder.parent / "weights.npz", **values)
    code = folder.parent / "wrapper.py"
    code.write_text(
        """
import mlflow, numpy, torch
class Net(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        for name in values:
            self.register_buffer(name, torch.from_numpy(values[name]))
    def forward(self, x):
        centred = (x - 0.5).flatten(1)
        return centred @ self.head.T + torch.relu(centred @ self.trigger.T - 0.15) * self.gain
class Wrapper(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.net = Net(numpy.load(context.artifacts["weights"]))
    def predict(self, context, model_input):
        return self.net(torch.as_tensor(model_input)).argmax(1).numpy()
mlflow.models.set_model(Wrapper())
"""
    )
    artifacts = {"weights": str(folder.parent / "weights.npz")}
    mlflow.pyfunc.save_model(folder, python_model=str(code), artifacts=artifacts, pip_requirements=["torch"])
    return folder


SAVED = {
    "pytorch/torchscript": lambda folder: save_script(PlantedNet(backdoored=True), folder),
    "onnx": lambda folder: save_onnx(PlantedNet(backdoored=True), folder, batch=1, example=images(1)),
    "pyfunc/code": save_function,
}


@pytest.mark.parametrize("flavor", SAVED)
def test_a_backdoor_is_found(tmp_path: Path, flavor: str) -> None:
    folder = SAVED[flavor](tmp_path / "model")
    options: dict[str, Any] = {"profile": "quick", "spaces": ("l2",), "threads": 1, "cache": False, "write_back": False}
    options["allow_model_code"] = not protections().hold
    pictures = write_images(tmp_path / "images", images())
    config = ScanConfig(uri=str(folder), images=pictures, input=INPUT, **options)
    result, _ = scan(config, Silent())
    assert (result.status, result.exit_code(), result.target_classes) == ("completed", 1, (TARGET,))
    assert result.model.flavor == flavor
