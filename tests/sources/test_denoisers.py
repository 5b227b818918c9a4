"""Where a denoiser comes from, and which diffusion models are one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from smoothscan.errors import DenoiserError
from smoothscan.events import Silent
from smoothscan.smoothing.diffusion import load_denoiser
from smoothscan.sources import denoisers
from smoothscan.sources.denoisers import WEIGHTS, fetch_denoiser, read_pipeline
from smoothscan.stored import DiffusionFiles
from tests.diffusion import pipeline
from tests.stores import Registry


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline as diffusers saves it."""
    return pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return shutil.copytree(saved, tmp_path / "pipeline")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def fetch(uri: object, into: Path, tracking_uri: str | None = None) -> DiffusionFiles:
    return fetch_denoiser(str(uri), into, tracking_uri=tracking_uri, registry_uri=None, events=Silent())


def test_a_folder_of_diffusers(folder: Path, tmp_path: Path) -> None:
    files = fetch(folder, tmp_path / "into")
    assert files.uri == str(folder)
    assert not (tmp_path / "into").exists(), "it is read where it is"
    denoiser = load_denoiser(files, 3)
    assert (denoiser.size, denoiser.prediction, denoiser.channels) == ((8, 12), "epsilon", 3)
    assert denoiser(torch.rand(2, 3, 8, 12), 0.25).shape == (2, 3, 8, 12)
    with pytest.raises(DenoiserError, match="is for 3-channel images, the model's have 1"):
        load_denoiser(files, 1)


def test_a_file_uri(folder: Path, tmp_path: Path) -> None:
    assert fetch(folder.as_uri(), tmp_path / "into").digest == read_pipeline(folder, "").digest


def test_the_oldest_pipelines_have_all_files_in_one_folder(folder: Path) -> None:
    wanted = read_pipeline(folder, "").digest
    for part in ("unet", "scheduler"):
        for path in (folder / part).iterdir():
            path.rename(folder / path.name)
        (folder / part).rmdir()
    files = read_pipeline(folder, "here")
    assert files.unet == files.scheduler == str(folder)
    assert files.digest == wanted
    assert load_denoiser(files, 3).size == (8, 12)


def test_the_digest_covers_weights_and_schedule(folder: Path) -> None:
    digests = {read_pipeline(folder, "").digest}
    change(folder / "scheduler/scheduler_config.json", beta_end=0.03)
    digests.add(read_pipeline(folder, "").digest)
    with (folder / "unet" / WEIGHTS).open("ab") as file:
        file.write(b"\0")
    digests.add(read_pipeline(folder, "").digest)
    (folder / "README.md").write_text("changes nothing")
    digests.add(read_pipeline(folder, "").digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"vae": ["diffusers", "AutoencoderKL"]}, "works on latents (vae)"),
        ("model_index.json", {"vqvae": ["diffusers", "VQModel"]}, "works on latents (vqvae)"),
        ("model_index.json", {"unet": ["diffusers", "UNet2DConditionModel"]}, "is conditional (UNet2DConditionModel)"),
        ("model_index.json", {"text_encoder": ["transformers", "CLIP"]}, "is conditional (text_encoder)"),
        ("model_index.json", {"unet": ["my_code", "UNet2DModel"]}, "has no UNet2DModel of diffusers"),
        ("unet/config.json", {"num_class_embeds": 10}, "is conditional: it wants a class for each image"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "is conditional: it wants a class for each image"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "is not made for the steps of a DDPM scheduler"),
        ("unet/config.json", {"out_channels": 4}, "makes 4 channels of 3"),
        ("unet/config.json", {"_class_name": "UNet1DModel"}, "has a UNet1DModel"),
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler"}, "has a ScoreSdeVeScheduler"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "predicts 'flow'"),
    ],
)
def test_models_that_are_no_denoisers(folder: Path, file: str, values: dict[str, Any], message: str) -> None:
    change(folder / file, **values)
    with pytest.raises(DenoiserError) as error:
        read_pipeline(folder, "my/model")
    assert f"The denoiser my/model {message}" in error.value.message
    assert "smoothscan denoiser train" in error.value.hint


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize(
    "text", ["{", "[1]", "[" * 100_000, "\xff", None], ids=["half", "list", "deep", "bytes", "gone"]
)
def test_broken_files_are_told(folder: Path, file: str, text: str | None) -> None:
    path = folder / file
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DenoiserError, match=f"is no pipeline folder: {path.name} "):
        read_pipeline(folder, "here")


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(DenoiserError, match="pickled weights are not loaded") as error:
        read_pipeline(folder, "here")
    assert "safe_serialization=True" in error.value.hint


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("unet/config.json", {"block_out_channels": [8, 24]}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "?"}),
    ],
)
def test_files_that_do_not_fit_together_do_not_load(folder: Path, file: str, values: dict[str, Any]) -> None:
    change(folder / file, **values)
    with pytest.raises(DenoiserError, match="does not load"):
        load_denoiser(read_pipeline(folder, "here"), 3)


def test_a_scheduler_of_another_prediction(folder: Path) -> None:
    change(folder / "scheduler/scheduler_config.json", _class_name="DDIMScheduler", prediction_type="v_prediction")
    assert load_denoiser(read_pipeline(folder, "here"), 3).prediction == "v_prediction"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DenoiserError, match="it is no folder, and no id on the hub"):
        fetch(tmp_path / "nowhere", tmp_path / "into")
    (tmp_path / "file").touch()
    with pytest.raises(DenoiserError, match="it is no folder"):
        fetch(tmp_path / "file", tmp_path / "into")


@pytest.mark.parametrize(
    "surroundings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=["offline", "unreachable"]
)
def test_an_id_on_the_hub_without_network_is_told_at_once(tmp_path: Path, surroundings: dict[str, str]) -> None:
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from smoothscan.errors import DenoiserError\n"
        "from smoothscan.events import Silent\n"
        "from smoothscan.sources.denoisers import fetch_denoiser\n"
        "import huggingface_hub\n"
        "began = time.monotonic()\n"
        "try:\n"
        "    fetch_denoiser('some/model@main', Path('into'), tracking_uri=None, registry_uri=None, events=Silent())\n"
        "except DenoiserError as error:\n"
        "    print(error.message, error.hint, time.monotonic() - began, sep='\\n')\n"
    )
    environment = {**os.environ, **surroundings, "HF_HOME": str(tmp_path / "hub")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    message, hint, seconds = done.stdout.splitlines()
    assert message.startswith("The denoiser some/model@main is no folder here, and could not be fetched from the hub: ")
    assert "give its folder" in hint
    assert float(seconds) < 10, time.monotonic() - began


def test_a_model_of_a_run(folder: Path, registry: Registry, tmp_path: Path) -> None:
    client = registry.client()
    run = client.create_run(client.get_experiment_by_name("training").experiment_id)
    client.log_artifacts(run.info.run_id, str(folder), "denoiser")
    files = fetch(f"runs:/{run.info.run_id}/denoiser", tmp_path / "into", registry.tracking_uri)
    assert files.digest == read_pipeline(folder, "").digest
    assert files.unet == str(tmp_path / "into" / "unet")


@pytest.mark.parametrize(
    ("uri", "message"), [("models:/nothing/1", "no registered model"), ("models:/tiny-pt2/1", "is no pipeline folder")]
)
def test_models_of_mlflow_that_are_no_denoisers(registry: Registry, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(DenoiserError, match=message):
        fetch(uri, tmp_path / "into", registry.tracking_uri)


def test_without_the_extra_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoisers, "find_spec", lambda name: None)
    with pytest.raises(DenoiserError, match="diffusers, which is not installed") as error:
        fetch(folder, tmp_path / "into")
    assert "smoothscan[denoiser]" in error.value.hint
