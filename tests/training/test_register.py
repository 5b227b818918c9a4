"""A denoiser as a model of MLflow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from smoothscan.errors import RegistryError
from smoothscan.events import Silent
from smoothscan.smoothing.diffusion import load_denoiser
from smoothscan.sources.denoisers import fetch_denoiser
from smoothscan.training import Trained, register
from smoothscan.training.network import make_network, make_scheduler
from smoothscan.training.settings import Settings


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """The folder of a denoiser that never learned anything."""
    from diffusers import DDPMPipeline

    settings = Settings(8, 8, 3, 100, 0, "sha256:1")
    pipeline: Any = DDPMPipeline(make_network(settings), make_scheduler())
    pipeline.save_pretrained(tmp_path / "denoiser", safe_serialization=True)
    error = {"sigma": 0.25, "noisy": 0.25, "denoised": 0.2}
    return Trained(tmp_path / "denoiser", {"settings": asdict(settings), "errors": [error]})


def test_what_was_registered_can_be_fetched(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    before = mlflow.get_tracking_uri()
    assert register(trained, "denoise", store, Silent()) == "models:/denoise/1"
    assert register(trained, "denoise", store, Silent()) == "models:/denoise/2"
    assert mlflow.get_tracking_uri() == before

    files = fetch_denoiser(
        "models:/denoise/1", tmp_path / "fetched", tracking_uri=store, registry_uri=None, events=Silent()
    )
    images = torch.rand(2, 3, 8, 8)
    here, there = (
        load_denoiser(one, 3) for one in (files, files.model_copy(update={"unet": str(trained.folder / "unet")}))
    )
    assert torch.equal(here(images, 0.1), there(images, 0.1))
    flavors = yaml.safe_load((tmp_path / "fetched" / "MLmodel").read_text())["flavors"]
    assert list(flavors) == ["diffusers"]

    client = mlflow.MlflowClient(store)
    run = client.get_run(client.get_model_version("denoise", "1").run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"rmse/0.25": 0.2}
    assert run.data.params["height"] == "8"


def test_a_server_that_is_not_there_is_told_and_the_folder_stays(trained: Trained) -> None:
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    with pytest.raises(RegistryError, match="MLflow did not take it") as error:
        register(trained, "denoise", "http://127.0.0.1:9", Silent())
    assert str(trained.folder) in error.value.message
    assert "without training it again" in error.value.hint
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before
