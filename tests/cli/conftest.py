"""Fixtures: the program in an empty folder, and a registered model that is quick to scan."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .program import ENVIRONMENT, Digits, Run, command, unprotected


@pytest.fixture
def smoothscan(tmp_path: Path) -> Run:
    """Runs the program in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*arguments: object, timeout: float = 120, protected: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments) if protected else unprotected(*arguments),
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def work(smoothscan: Run, tmp_path: Path) -> Path:
    """The folder in which the program runs."""
    return tmp_path / "work"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """A linear classifier made of the mean image of each digit: no training, and quick to scan."""
    import mlflow
    import torch

    from smoothscan.cli.demo_models import as_bytes, load_digits

    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    (folder / "images").mkdir()
    for position, pixels in enumerate(as_bytes(data.test_images[:60])):
        Image.fromarray(pixels).save(folder / "images" / f"{position:02d}.png")
    means = torch.stack([data.train_images[data.train_labels == digit].mean(0).flatten() for digit in range(10)])
    linear = torch.nn.Linear(means.shape[1], 10)
    with torch.no_grad():
        linear.weight.copy_(means)
        linear.bias.copy_(-means.square().sum(1) / 2)
    model = torch.nn.Sequential(torch.nn.Flatten(), linear).eval()
    tracking_uri = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        client = mlflow.MlflowClient()
        for name in ("training", "smoothscan"):
            client.create_experiment(name, artifact_location=(folder / "artifacts" / name).as_uri())
        with mlflow.start_run(experiment_id=client.get_experiment_by_name("training").experiment_id):
            mlflow.pytorch.log_model(
                model,
                name="model",
                input_example=data.test_images[:2].numpy().astype(np.float32),
                serialization_format="pt2",
                registered_model_name="digits",
                pip_requirements=["torch"],
            )
    finally:
        mlflow.set_tracking_uri(before)
    return Digits("models:/digits/1", tracking_uri, folder / "images")
