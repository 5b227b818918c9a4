"""MLflow stores with tiny models, and images to scan them with. Nothing heavy at import."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

TINY_NET = '''
import torch


class TinyNet(torch.nn.Module):
    """Ten classes from 3x32x32, untrained."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))
'''


@dataclass(frozen=True)
class Registry:
    """An MLflow store with one version each of tiny-pt2 (alias champion), tiny-static and tiny-pickle."""

    tracking_uri: str
    folder: Path
    model_ids: dict[str, str]
    run_ids: dict[str, str]

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri)

    def model_folder(self, name: str) -> Path:
        """Where the files of a model lie (stores with local artifacts only)."""
        location = self.client().get_logged_model(self.model_ids[name]).artifact_location
        return Path(location.removeprefix("file://"))


def draw_images(folder: Path, count: int = 12, size: int = 32) -> Path:
    """Write images of coloured discs on gradients; no two are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] / size
    for index in range(count):
        back, front, centre = rng.random(3), rng.random(3), rng.uniform(0.3, 0.7, 2)
        ramp = (x * back[0] + y * back[1])[..., None] * back
        disc = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.04)[..., None]
        pixels = np.where(disc, front, ramp).clip(0, 1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"image_{index:02d}.png")
    return folder


def example_batch(count: int) -> NDArray[np.float32]:
    """Quantised images in [0, 1], as an input example."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, 32, 32))
    return (pixels / 255).astype(np.float32)


@contextmanager
def logging_to(tracking_uri: str, folder: Path) -> Iterator[None]:
    """Let MLflow log to a store, from the store's own folder."""
    import mlflow

    before, here = mlflow.get_tracking_uri(), Path.cwd()
    mlflow.set_tracking_uri(tracking_uri)
    os.chdir(folder)  # a sqlite store keeps the artifacts of further experiments below the folder it is opened in
    try:
        yield
    finally:
        os.chdir(here)
        mlflow.set_tracking_uri(before)


def log_model(store: Registry, name: str, module: Any, example: Any, *, kind: str = "pt2", **options: Any) -> str:
    """Log and register one more model in a store of tiny models, and return its URI."""
    import mlflow

    with logging_to(store.tracking_uri, store.folder):
        experiment = store.client().get_experiment_by_name("training")
        with mlflow.start_run(experiment_id=experiment.experiment_id):
            info = mlflow.pytorch.log_model(
                module,
                name="model",
                input_example=example,
                serialization_format=kind,
                registered_model_name=name,
                pip_requirements=["torch"],
                **options,
            )
    return f"models:/{name}/{info.registered_model_version}"


def log_tiny_models(tracking_uri: str, folder: Path, artifact_location: str | None) -> Registry:
    """Log and register the tiny models in an MLflow store."""
    import mlflow
    import torch

    code = folder / "code"
    code.mkdir()
    (code / "tiny_net.py").write_text(TINY_NET)
    sys.path.insert(0, str(code))
    try:
        from tiny_net import TinyNet

        torch.manual_seed(0)
        net = TinyNet().eval()
        with logging_to(tracking_uri, folder):
            client = mlflow.MlflowClient()
            experiment = client.create_experiment("training", artifact_location=artifact_location)
            model_ids, run_ids = {}, {}
            for name, kind, count in (("tiny-pt2", "pt2", 2), ("tiny-static", "pt2", 1), ("tiny-pickle", "pickle", 2)):
                with mlflow.start_run(experiment_id=experiment) as run:
                    info = mlflow.pytorch.log_model(
                        net,
                        name="model",
                        input_example=example_batch(count),
                        serialization_format=kind,
                        code_paths=[str(code / "tiny_net.py")] if kind == "pickle" else None,
                        registered_model_name=name,
                        pip_requirements=["torch"],
                    )
                model_ids[name], run_ids[name] = info.model_id, run.info.run_id
            client.set_registered_model_alias("tiny-pt2", "champion", "1")
    finally:
        sys.path.remove(str(code))
    return Registry(tracking_uri, folder, model_ids, run_ids)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, limit: float = 90) -> None:
    """Wait for a server to answer; fail with the end of its log."""
    end = time.monotonic() + limit
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not come up:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
