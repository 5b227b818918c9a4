"""What several rooms test with: a registry of tiny models, a tracking server, images. Nothing heavy at import."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for _name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
    os.environ.pop(_name, None)

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


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Model zoo and real images; not part of the project."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SMOOTHSCAN_SHARED", beside))
    if not (folder / "zoo").is_dir():
        pytest.skip(f"needs the model zoo: set SMOOTHSCAN_SHARED to its folder ({folder} has none)")
    return folder


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


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twelve 32x32 RGB images."""
    return draw_images(tmp_path / "images")


def example_batch(count: int) -> NDArray[np.float32]:
    """Quantised images in [0, 1], as an input example."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, 32, 32))
    return (pixels / 255).astype(np.float32)


def log_tiny_models(tracking_uri: str, folder: Path, artifact_location: str | None) -> Registry:
    """Log and register the tiny models in an MLflow store."""
    import mlflow
    import torch

    code = folder / "code"
    code.mkdir()
    (code / "tiny_net.py").write_text(TINY_NET)
    sys.path.insert(0, str(code))
    before, here = mlflow.get_tracking_uri(), Path.cwd()
    try:
        from tiny_net import TinyNet

        torch.manual_seed(0)
        net = TinyNet().eval()
        mlflow.set_tracking_uri(tracking_uri)
        os.chdir(folder)  # a sqlite store keeps the artifacts of further experiments below the folder it is opened in
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
        os.chdir(here)
        mlflow.set_tracking_uri(before)
        sys.path.remove(str(code))
    return Registry(tracking_uri, folder, model_ids, run_ids)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A sqlite store with the tiny models. Shared by all tests: add to it, but leave what is there."""
    folder = tmp_path_factory.mktemp("registry")
    return log_tiny_models(f"sqlite:///{folder}/mlflow.db", folder, (folder / "artifacts").as_uri())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A real tracking server with the tiny models, artifacts served through it."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process, folder / "log.txt")
        yield log_tiny_models(f"http://127.0.0.1:{port}", folder, None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
