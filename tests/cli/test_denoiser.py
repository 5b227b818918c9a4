"""`smoothscan denoiser train`, as users run it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from smoothscan.events import Silent
from smoothscan.smoothing.diffusion import load_denoiser
from smoothscan.sources.denoisers import fetch_denoiser, read_pipeline
from tests.training.pictures import draw

from .program import ENVIRONMENT, Run, command

STEPS = 40
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TRAIN = ("denoiser", "train", "--images", "images", "--steps", STEPS, "--threads", 2, "--device", "cpu", "--output")


@pytest.fixture
def images(work: Path) -> Path:
    return draw(work / "images")


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A training that nothing stopped, and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    draw(folder / "images")
    done = subprocess.run(
        command(*TRAIN, "out"), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    return done, folder / "out"


def test_a_folder_of_images_becomes_a_denoiser(straight: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = straight
    assert done.returncode == 0, done.stderr
    assert "] images: 80 files, as 8x8 RGB" in done.stderr
    assert "] train: 72 images of 8x8 RGB, 40 steps" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split("  ") == ["noise level", "error, noisy", "error, denoised"]
    assert [line.split()[0] for line in lines[1:5]] == ["0.06", "0.12", "0.25", "0.5"]
    assert "trained  on 72 images of 8x8 RGB" in lines
    assert "denoiser out" in lines

    files = {path.name for path in out.iterdir()}
    assert files == {"denoised.png", "model_index.json", "scheduler", "training.json", "unet"}
    denoiser = load_denoiser(read_pipeline(out, "out"), 3)
    assert denoiser.size == (8, 8)
    told = record(out)
    assert told["images"]["training"] == 72
    assert told["settings"]["steps"] == STEPS
    assert [step for step, _ in told["losses"]] == list(range(1, STEPS + 1))
    assert told["errors"][2]["sigma"] == 0.25
    with Image.open(out / "denoised.png") as picture:
        assert picture.width > 9 * 64

    again = subprocess.run(
        command(*TRAIN, "out"), cwd=out.parent, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 2
    assert "out holds a denoiser already" in again.stderr
    assert "--output" in again.stderr


@pytest.fixture
def stopped(work: Path, images: Path) -> Callable[[signal.Signals], subprocess.CompletedProcess[str]]:
    """Stops a training in the middle: at any step, but for a kill, before which a state has to be on the disk."""

    def stop(number: signal.Signals) -> subprocess.CompletedProcess[str]:
        hurry = "import smoothscan.training.train as t; t._KEPT_AFTER = (10, 1e9)\n"
        words = [command()[0], "-c", hurry + "from smoothscan.cli.main import main; main()", *map(str, TRAIN), "out"]
        process = subprocess.Popen(
            words, cwd=work, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (work / "out/.training/state.safetensors").exists():
            assert process.poll() is None, "the training ended before it could be stopped"
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert not (work / "out/model_index.json").exists()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return stop


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["kill -9", "Ctrl-C", "kill"])
def test_a_stopped_training_goes_on_to_the_same_weights(
    smoothscan: Run,
    work: Path,
    stopped: Callable[[signal.Signals], subprocess.CompletedProcess[str]],
    straight: tuple[subprocess.CompletedProcess[str], Path],
    number: signal.Signals,
) -> None:
    first = stopped(number)
    assert first.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    if number != signal.SIGKILL:
        words = "stopped; what was trained is kept, and the same command goes on from there"
        assert first.stderr.splitlines()[-1] == words

    if number == signal.SIGKILL:
        other = smoothscan(*TRAIN, "out", "--seed", 1)
        assert other.returncode == 2
        assert "unfinished training of other settings; asked for now: seed 1." in other.stderr

    done = smoothscan(*TRAIN, "out")
    assert done.returncode == 0, done.stderr
    assert "] resume: " in done.stderr
    assert "] images" not in done.stderr, "nothing is decoded twice"
    assert (work / "out" / WEIGHTS).read_bytes() == (straight[1] / WEIGHTS).read_bytes()
    resumed, plain = record(work / "out"), record(straight[1])
    assert (resumed["losses"], resumed["errors"]) == (plain["losses"], plain["errors"])
    assert not (work / "out/.training").exists()


def test_what_is_registered_can_be_fetched(smoothscan: Run, work: Path, images: Path) -> None:
    broken = smoothscan(*TRAIN, "out", "--log-model", "denoise", "--tracking-uri", "http://127.0.0.1:9")
    assert broken.returncode == 3, broken.stderr
    assert "The denoiser is in out, but MLflow did not take it" in broken.stderr

    store = f"sqlite:///{work}/mlflow.db"
    done = smoothscan(*TRAIN, "out", "--log-model", "denoise", "--tracking-uri", store, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "model    models:/denoise/1" in done.stdout
    files = fetch_denoiser(
        "models:/denoise/1", work / "fetched", tracking_uri=store, registry_uri=None, events=Silent()
    )
    assert files.digest == read_pipeline(work / "out", "out").digest
    assert (work / "fetched/MLmodel").exists()

    other = smoothscan(*TRAIN, "out", "--log-model", "denoise", "--tracking-uri", store, "--seed", 1)
    assert other.returncode == 2
    assert "holds a denoiser of other settings; asked for now: seed 1." in other.stderr


def test_grey_images_that_are_not_square(smoothscan: Run, work: Path) -> None:
    draw(work / "images", height=16, width=9, mode="L")
    done = smoothscan("denoiser", "train", "--images", "images", "--steps", 2, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "16x8 grey" in done.stderr
    denoiser = load_denoiser(read_pipeline(work / "smoothscan-denoiser", "here"), 1)
    assert (denoiser.size, denoiser.channels) == ((16, 8), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "30x32"], "multiples of 4"),
        (["--size", "4x4"], "at least 8"),
        (["--steps", "0"], "--steps"),
        (["--seed", "-1"], "--seed"),
        (["--channels", "4"], "--channels"),
        (["--device", "abacus"], "The device abacus cannot be used"),
        (["--images", "nowhere"], "does not exist"),
        (["--images", "few"], "Only 3 of 4 images can be used"),
        (["--output", "images"], "holds something else"),
    ],
)
def test_what_cannot_be_is_told(smoothscan: Run, work: Path, images: Path, arguments: list[str], message: str) -> None:
    (draw(work / "few", 3) / "broken.png").write_bytes(b"no image")
    done = smoothscan("denoiser", "train", "--images", "images", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (work / "smoothscan-denoiser" / "model_index.json").exists()


def test_without_the_extra_it_says_what_to_install(work: Path, images: Path) -> None:
    code = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'diffusers' else find(name, *more)\n"
        "from smoothscan.cli.main import main; main()\n"
    )
    words = [command()[0], "-c", code, "denoiser", "train", "--images", "images"]
    done = subprocess.run(words, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install 'smoothscan[denoiser]'" in done.stderr
    assert not (work / "smoothscan-denoiser").exists()
